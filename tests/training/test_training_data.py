"""Records, augmentation, drills and sources: what is changed stays right, what is held out stays out."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest

from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.augment import noisy, renamed_parameters, renamed_tools, reordered_parameters, words_of
from mcp_dualtune.training.cases import wanted
from mcp_dualtune.training.drills import Drills, number_words
from mcp_dualtune.training.records import Case, RequestTemplate, fill, said, substitute
from mcp_dualtune.training.sources import (
    CALL_FILES,
    CHOICE_FILES,
    TUNED,
    held_out,
    load_corpus,
    make_server,
    read_rows,
    split,
    tuned_corpus,
)
from mcp_dualtune.training.zones import zone_values

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "order": {"type": "string", "enum": ["newestFirst", "oldest"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": 40},
        "ratio": {"type": "number"},
        "recursive": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "since": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "owner": {"type": "object", "properties": {"userId": {"type": "integer"}}, "required": ["userId"]},
    },
    "required": ["path", "limit"],
}
TOOLS = [
    {"name": "list_files", "description": "List the files of a folder.", "inputSchema": SCHEMA},
    {"name": "get_file", "description": "Read one file.", "inputSchema": SCHEMA},
]
SERVER = make_server("disk", "Files", TOOLS)


def test_places_are_filled_once_and_typed() -> None:
    template = RequestTemplate(
        "the top {n} of {path}, {unknown}", {"all": True}, {"n": [["ten", 10]], "path": ["a.md"]}
    )
    assert template.places == ("n", "path")
    assert fill(template, random.Random(0)) == (
        "the top ten of a.md, {unknown}",
        {"all": True, "n": 10, "path": "a.md"},
    )
    assert [said(value) for value in ("x", 3, ["two", 2], [1, 2])] == [
        ("x", "x"),
        ("3", 3),
        ("two", 2),
        ("[1, 2]", [1, 2]),
    ]


def test_substitution_keeps_types_of_whole_places() -> None:
    known: dict[str, tuple[str, Any]] = {"n": ("ten", 10), "who": ("Ana", "ana@x.org")}
    value = {"a": "{n}", "b": ["to {who}", "{who}"], "c": "{n} rows", "d": {"e": "{missing}"}}
    assert substitute(value, known) == {
        "a": 10, "b": ["to ana@x.org", "ana@x.org"], "c": "ten rows", "d": {"e": "{missing}"},
    }  # fmt: skip


def test_renamed_parameters_fit_the_renamed_schema() -> None:
    assert SERVER is not None
    drills = Drills([SERVER], ["some words"])
    changed = 0
    for seed in range(120):
        rng = random.Random(seed)
        case = drills.case(rng)
        made = renamed_parameters(case, rng)
        before, after = (next(t for t in c.server.tools if t.name == c.tool).input_schema for c in (case, made))
        assert len(after["properties"]) == len(before["properties"])
        assert list(after["properties"].values()) == list(before["properties"].values())
        mapping = dict(zip(before["properties"], after["properties"], strict=True))
        assert case.arguments is not None
        assert made.arguments == {mapping[name]: value for name, value in case.arguments.items()}
        assert made.missing == tuple(mapping[name] for name in case.missing)
        asked = {**after, "required": [name for name in after["required"] if name not in made.missing]}
        assert not validate_arguments({**asked, "additionalProperties": False}, made.arguments)
        changed += mapping != {name: name for name in mapping}
    assert changed > 100


def test_renamed_tools_stay_distinct() -> None:
    assert SERVER is not None
    for seed in range(50):
        shown, mapping = renamed_tools(SERVER, random.Random(seed))
        assert [tool.name for tool in shown.tools] == [mapping[tool.name] for tool in SERVER.tools]
        assert len(set(mapping.values())) == len(SERVER.tools)


def test_reordering_changes_the_order_alone() -> None:
    assert SERVER is not None
    schema = reordered_parameters(SERVER.tools[0], random.Random(1)).input_schema
    assert schema == SERVER.tools[0].input_schema
    assert list(schema["properties"]) != list(SCHEMA["properties"])


def test_typing_noise_leaves_protected_values_alone() -> None:
    text = "Please open Notes/A.md and Copy it to B.md."
    results = {noisy(text, ["Notes/A.md", "B.md"], random.Random(seed)) for seed in range(200)}
    assert len(results) > 10
    assert all("Notes/A.md" in result and "B.md" in result for result in results)


def test_words_and_numbers() -> None:
    assert words_of("getUser_idHTTP2") == ["get", "user", "id", "http", "2"]
    assert [number_words(n) for n in (0, 13, 20, 47)] == ["zero", "thirteen", "twenty", "forty-seven"]


def test_drilled_values_fit_their_schema_and_are_said() -> None:
    assert SERVER is not None
    drills = Drills([SERVER], ["some words", "Größe 12"])
    seen: set[str] = set()
    for seed in range(300):
        case = drills.case(random.Random(seed))
        assert case.arguments is not None
        asked = {
            **SCHEMA,
            "required": [n for n in ("path", "limit") if n not in case.missing],
            "additionalProperties": False,
        }
        assert not validate_arguments(asked, case.arguments), case
        assert not set(case.missing) & set(case.arguments)
        seen |= set(case.arguments)
        path = case.arguments.get("path")
        assert path is None or path[1:] in case.query
    assert seen == set(SCHEMA["properties"])


def data_folder(folder: Path) -> Path:
    """All third-party files, a few records each, with held-out and tuned servers among them."""
    kept_out = sorted(held_out())[0]
    row = {"description": "d", "tools": [{**TOOLS[0], "parameters": SCHEMA}]}
    names = ("disk", "maps", kept_out, "filesystem", "Git Helper", *(f"server-{n}" for n in range(60)))
    authored = [
        {
            "server": name,
            "server_description": "d",
            "tool": {"name": "list_files", "description": "List.", "parameters": SCHEMA},
            "requests": ["list {path}"],
            "values": {"path": ["a", "b"]},
        }
        for name in names
    ]
    call = {
        "source": "s", "server": "assistant", "query": "q", "history": [], "tools": TOOLS,
        "calls": [{"name": "get_file", "arguments": {"path": "a", "limit": 3}}],
    }  # fmt: skip
    write(folder / "mcp_catalogue.jsonl.gz", [{"source": "s", "server": name, **row} for name in names])
    write(folder / "authored.jsonl.gz", authored)
    write(folder / "mcp_server_prompts.jsonl.gz", [{"server": name, "query": f"use {name}"} for name in names])
    for name in {*CHOICE_FILES, *CALL_FILES}:
        write(folder / f"{name}.jsonl.gz", [call, {**call, "history": ["user: hello"]}, {**call, "calls": []}])
    return folder


def write(path: Path, rows: list[Mapping[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_held_out_servers_are_nowhere_in_the_corpus(tmp_path: Path) -> None:
    corpus = load_corpus(data_folder(tmp_path), texts=False)
    shown = {
        *(server.name for server in corpus.catalogue), *corpus.servers, *corpus.entries,
        *(server.name for _, server in corpus.prompts),
    }  # fmt: skip
    assert {"disk", "maps"} <= shown
    assert not shown & held_out()
    assert held_out()


def test_stages_learn_from_disjoint_servers(tmp_path: Path) -> None:
    """Tuned servers teach adapters only, development servers nothing, all others the base model."""
    corpus = load_corpus(data_folder(tmp_path), texts=False)
    assert corpus.tuned == TUNED
    assert corpus.dev
    assert not set(corpus.tuned) & set(corpus.dev)
    assert not set(corpus.general) & {*corpus.tuned, *corpus.dev}
    assert not {server.name for server in corpus.catalogue} & {"filesystem", "Git Helper"}
    assert not {server.name for _, server in corpus.prompts} & set(corpus.dev)


def test_calls_and_choices_come_from_single_turns(tmp_path: Path) -> None:
    corpus = load_corpus(data_folder(tmp_path), texts=False)
    assert len(corpus.choices) == 2 * len(CHOICE_FILES)
    assert {case.tool for case in corpus.choices} == {"get_file", "none"}
    assert len(corpus.calls) == len(CALL_FILES)
    assert all(isinstance(case, Case) and case.arguments == {"path": "a", "limit": 3} for case in corpus.calls)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing\.jsonl is missing") as caught:
        list(read_rows(tmp_path / "nothing.jsonl"))
    assert caught.value.hint
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(TrainingError, match="line 2"):
        list(read_rows(broken))


def test_places_stand_for_zones_of_the_database() -> None:
    known = available_timezones()
    values = zone_values()
    assert {zone for _, zone in values} <= known
    assert {("Mumbai", "Asia/Kolkata"), ("Sao Paulo", "America/Sao_Paulo"), ("Asia/Tokyo", "Asia/Tokyo")} <= set(values)


def test_refused_requests_come_near_tuned_servers_or_none() -> None:
    corpus = tuned_corpus()
    assert set(corpus.refused) <= {*TUNED, ""}
    kept, held = (split(corpus, held_out=part).refused[""] for part in (False, True))
    assert kept and held and not set(kept) & set(held)


def test_wordings_that_set_optional_parameters_are_drawn_more_often() -> None:
    plain = RequestTemplate("read {path}", {}, {"path": ["a"]})
    more = RequestTemplate("read {path}, {head} lines", {"tail": 1}, {"path": ["a"], "head": [3]})
    assert wanted(plain, {"path"}) == 1.0
    assert wanted(more, {"path"}) > 2 * wanted(plain, {"path"})
