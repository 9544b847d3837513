"""Requests made from a tool list: they fit its schemas, say what they claim, and are not all alike."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.catalog.schema import leaf_paths, validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.prompting.numerals import NUMBER, number_of
from mcp_dualtune.prompting.reading import GIVEN, ReadingTemplate
from mcp_dualtune.training.augment import words_of
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.reading import readings
from mcp_dualtune.training.records import Case, Entry, RequestTemplate, fill, said, substitute
from mcp_dualtune.training.sources import TUNED, Corpus
from mcp_dualtune.training.synthesis import Synthesis, synthesise
from mcp_dualtune.training.synthesis.filtering import Sieve, says
from mcp_dualtune.training.synthesis.phrase_rows import read_synthesis, rows, write_synthesis
from mcp_dualtune.types import FINISH, ServerSpec, ToolSpec
from tests.tiny_models import tiny_pieces
from tests.training.invented_servers import LISTS, invented, text, tool

COUNT = 400
SHIPPED = resources.files("mcp_dualtune.training").joinpath("servers")
FRACTION = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
MATRIX = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
NAMES = (*LISTS, *TUNED)


@lru_cache(maxsize=32)
def server(name: str) -> ServerSpec:
    if name in LISTS:
        return invented(name)
    return build_server(name, "", json.loads(SHIPPED.joinpath(f"{name}.json").read_text("utf-8"))["tools"]).spec


@lru_cache(maxsize=32)
def made(name: str) -> Synthesis:
    return synthesise(server(name), 7, COUNT)


def entries(name: str) -> list[Entry]:
    return [*made(name).training.entries, *made(name).held_out.entries]


def spec(name: str, tool_name: str) -> ToolSpec:
    return next(tool for tool in server(name).tools if tool.name == tool_name)


def words(string: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"\{[^{}]*\}", " ", string.lower()))


@pytest.mark.parametrize("name", NAMES)
def test_every_call_fits_its_schema(name: str) -> None:
    problems = []
    for entry in entries(name):
        schema = spec(name, entry.tool).input_schema
        asked = [(template, ()) for template in entry.requests]
        for template, missing in [*asked, *entry.missing]:
            size = max((len(template.values[place]) for place in template.places), default=1)
            for at in range(0, size, 7):
                drawn = {p: said(template.values[p][at % len(template.values[p])])[1] for p in template.places}
                arguments = {**template.arguments, **drawn}
                needed = [one for one in schema.get("required") or () if one not in missing]
                problems += validate_arguments({**schema, "required": needed}, arguments)
                problems += [f"{one} is given in {template.text}" for one in missing if one in arguments]
    assert problems == []


@pytest.mark.parametrize("name", NAMES)
def test_values_stand_in_the_text_and_no_place_is_left(name: str) -> None:
    rng = random.Random(3)
    lost, paraphrased, total = [], 0, 0
    for entry in entries(name):
        for template in entry.requests:
            places = {p: said(rng.choice(list(template.values[p]))) for p in template.places}
            shown = template.text
            for place, (form, _) in places.items():
                shown = shown.replace("{" + place + "}", form)
            assert not any("{" + p + "}" in shown for p in spec(name, entry.tool).input_schema["properties"]), shown
            for form, value in places.values():
                total += 1
                if not says(form, value):
                    paraphrased += 1
                    continue
                lost += [(leaf, shown) for leaf in leaves(value) if not stands(leaf, shown)]
    assert lost == []
    assert paraphrased <= 0.6 * total


def leaves(value: Any) -> list[Any]:
    return [leaf for _, leaf in leaf_paths({"v": value}) if leaf not in ({}, [])]


def stands(leaf: Any, shown: str) -> bool:
    if isinstance(leaf, bool):
        return True
    if isinstance(leaf, str):
        return leaf in shown
    return any(number_of(place[0]) == leaf for place in NUMBER.finditer(shown)) or str(leaf) in shown


@pytest.mark.parametrize("name", ["helpdesk", "shop", "travel", "ops"])
def test_the_reader_finds_what_requests_give(name: str) -> None:
    """With the pages that serving uses, however its tokenizer cuts the words."""
    template = ReadingTemplate(tiny_pieces())
    rng = random.Random(5)
    given = whole = 0
    for entry in made(name).training.entries:
        for request in entry.requests[:12]:
            query, arguments = fill(request, rng)
            for reading in readings(template, Case(query, server(name), entry.tool, arguments), spec(name, entry.tool)):
                for target in reading.targets:
                    whole += bool(target.values)
                    given += target.state == GIVEN
    assert whole > 100
    assert given / whole > 0.9


@pytest.mark.parametrize("name", LISTS)
def test_requests_are_not_all_alike(name: str) -> None:
    asked = [t for entry in made(name).training.entries for t in entry.requests]
    openings = {tuple(words(t.text)[:2]) for t in asked}
    assert len(openings) >= 0.45 * len(asked)
    for entry in made(name).training.entries:
        skeletons = {re.sub(r"\{[^{}]*\}|['\"`.!?]", "", t.text.lower()) for t in entry.requests}
        assert len(skeletons) >= 0.9 * len(entry.requests)
    free = [
        template
        for entry in made(name).training.entries
        for template in entry.requests
        if not {stem(w) for w in words_of(entry.tool)} & {stem(w) for w in words(template.text)}
    ]
    assert len(free) >= 0.14 * len(asked)


def stem(word: str) -> str:
    return word.lower().rstrip("s").removesuffix("ing").removesuffix("ed").rstrip("e")


@pytest.mark.parametrize("name", LISTS)
def test_every_tool_gets_requests_with_and_without_its_optional_parameters(name: str) -> None:
    assert made(name).skipped == {}
    for entry in made(name).training.entries:
        schema = spec(name, entry.tool).input_schema
        required, known = set(schema.get("required") or ()), set(schema["properties"])
        used = [{*t.arguments, *t.places} for t in entry.requests]
        assert len(entry.requests) >= 8
        assert set().union(*used) == known
        assert all(required <= one for one in used)
        if required:
            assert entry.missing
        if known - required and len(known - required) < 4:
            assert any(one == required for one in used) or entry.tool.startswith("update")


def test_the_same_seed_gives_the_same_requests_and_another_seed_others() -> None:
    first, again, other = (list(rows(synthesise(server("shop"), seed, 60))) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_order_of_sets_has_no_part_in_it() -> None:
    script = (
        "from tests.training.test_synthesis import server, rows, synthesise, json;"
        "print(json.dumps(list(rows(synthesise(server('travel'), 1, 60)))))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
            text=True, timeout=60, check=True, cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_a_thousand_requests_for_ten_tools_take_seconds() -> None:
    before = time.process_time()
    assert synthesise(server("ops"), 3, 1000).training.size > 900
    assert time.process_time() - before < 10


def test_held_out_requests_use_wordings_that_training_never_saw() -> None:
    seen = {words_only(t.text) for e in made("helpdesk").training.entries for t in e.requests}
    held = [t.text for e in made("helpdesk").held_out.entries for t in e.requests]
    assert len(held) >= COUNT // 10
    assert sum(words_only(one) in seen for one in held) <= 0.03 * len(held)
    pairs = {pair for one in seen for pair in bigrams(one)}
    fresh = [sum(pair not in pairs for pair in bigrams(words_only(one))) for one in held]
    assert sum(count > 0 for count in fresh) > 0.75 * len(fresh)


def words_only(string: str) -> str:
    return " ".join(words(string))


def bigrams(string: str) -> list[tuple[str, str]]:
    split = string.split()
    return list(itertools.pairwise(split))


@pytest.mark.parametrize("name", LISTS)
def test_chains_call_tools_that_exist_with_arguments_that_fit(name: str) -> None:
    rng = random.Random(1)
    for chain in (*made(name).training.chains, *made(name).held_out.chains):
        known = {place: said(rng.choice(list(values))) for place, values in chain.values.items()}
        query = chain.text
        for place, (form, _) in known.items():
            query = query.replace("{" + place + "}", form)
        assert "{first_" not in query and "{second_" not in query and "{link}" not in query
        for step in chain.steps:
            arguments = {key: substitute(value, known) for key, value in step["args"].items()}
            assert validate_arguments(spec(name, step["tool"]).input_schema, arguments) == (), (query, arguments)
            assert "{link}" not in str(substitute(step["result"], known))
        if "link" in known:
            assert known["link"][0] in str(substitute(chain.steps[0]["result"], known))


def test_refused_requests_do_not_ask_for_what_a_tool_does() -> None:
    asked = " ".join((*made("helpdesk").training.refused, *made("helpdesk").held_out.refused)).lower()
    assert len(re.findall(r"\b(?:ticket|agent|comment)s?\b", asked)) >= 8
    assert not re.search(r"\b(?:show|list|create|add|assign|close|search|find) (?:me )?(?:the|a|all) tickets?\b", asked)


def test_training_draws_cases_of_every_kind_from_a_synthesis() -> None:
    corpus = Corpus(texts=["ok"])
    made("shop").enter(corpus)
    cases, rng = CaseMaker(corpus), random.Random(2)
    drawn = [cases.request("shop", rng) for _ in range(400)]
    assert {case.tool for case in drawn} >= {tool.name for tool in server("shop").tools} | {FINISH}
    assert any(case.missing for case in drawn) and any(case.history for case in drawn)
    assert cases.refused(["shop"], rng)
    results = [cases.result("shop", case, rng) for case in drawn if case.arguments is not None and not case.missing]
    assert not any(re.search(r"\{\w+\}", result) for result in results)


def odd(*tools: dict[str, Any], name: str = "odd") -> Synthesis:
    return synthesise(build_server(name, "", tools).spec, 1, 60)


def test_a_tool_without_parameters_gets_many_wordings() -> None:
    synthesis = odd(tool("list_agents", "List all support agents."))
    (entry,) = synthesis.training.entries
    assert len({t.text for t in entry.requests}) >= 35
    assert entry.missing == ()


def test_a_server_of_sixty_tools_gets_requests_for_each() -> None:
    nouns = ("invoice", "user", "task", "order", "note", "device", "event", "file", "report", "team", "plan", "card")
    tools = [
        tool(f"{verb}_{noun}", f"{verb.capitalize()} a {noun}.", "id", id=text())
        for noun in nouns
        for verb in ("create", "get", "update", "delete", "archive")
    ]
    synthesis = synthesise(build_server("big", "", tools).spec, 1, 300)
    assert len(synthesis.training.entries) == 60
    assert all(len(entry.requests) >= 8 for entry in synthesis.training.entries)


@pytest.mark.parametrize(
    "wire",
    [
        tool("rechnung_erstellen", "Erstellt eine neue Rechnung.", "kunde", kunde=text("Name des Kunden")),
        tool("天气", "查询天气", "城市", **{"城市": text()}),
        tool("frobnicate", "", "x", x=text()),
        tool("doX"),
        tool("a", "…", "b_c", b_c=text()),
        tool("set_bounds", "Set bounds", "n u", n=FRACTION, u=text(maxLength=3)),
        tool("deep", "Create a thing", "a", a={"type": "object", "required": ["b"], "properties": {"b": MATRIX}}),
        tool("choose", "Choose", "v", v={"anyOf": [{"type": "integer"}, text()]}, w={"const": 3}, n={"type": "null"}),
        tool("report", "Report", "day", day=text("Day, e.g. 2024-01-05 (YYYY-MM-DD)")),
        tool("run_code", "Runs code", "code", code=text("Python source with {braces}")),
    ],
    ids=lambda wire: wire["name"],
)  # fmt: skip
def test_odd_tools_get_requests_too(wire: dict[str, Any]) -> None:
    synthesis = odd(wire)
    assert synthesis.skipped == {}
    assert synthesis.training.entries[0].requests


def test_a_value_that_cannot_be_made_up_is_reported() -> None:
    synthesis = odd(
        tool("impossible", "Make a key", "key", key=text(pattern="^(?=a)b$")), tool("list_keys", "List keys")
    )
    assert synthesis.skipped == {"impossible": "no values can be made up for key"}
    assert [entry.tool for entry in synthesis.training.entries] == ["list_keys"]


def test_a_required_parameter_that_the_schema_does_not_describe_is_reported() -> None:
    assert odd(tool("a", "Add a note", "text ghost", text=text())).skipped == {
        "a": "no values can be made up for ghost"
    }


def test_a_server_without_tools_gives_nothing() -> None:
    synthesis = odd()
    assert synthesis.training.entries == () and synthesis.training.size == 0


def test_arguments_that_the_config_fixes_are_not_spoken_of() -> None:
    wire = [tool("list_commits", "List commits", "repo_path", repo_path=text(), author=text())]
    spec = build_server("git", "", wire, fixed_arguments={"repo_path": "/srv/app"}).spec
    (entry,) = synthesise(spec, 1, 40).training.entries
    assert len(entry.requests) >= 8
    assert not any("repo_path" in t.places or "repo_path" in t.arguments for t in entry.requests)


def test_the_sieve_counts_what_it_drops() -> None:
    sieve, rng, of = Sieve(), random.Random(0), spec("helpdesk", "assign_ticket")
    values = {"ticket_key": ["SUP-10"], "agent": ["Ana"]}

    def kept(string: str, **arguments: Any) -> bool:
        return sieve.keeps(RequestTemplate(string, arguments, values), of, rng)

    assert kept("give {ticket_key} to {agent}")
    assert not kept("Give {ticket_key} to {agent}!")
    assert not kept("please just give {ticket_key} to {agent}")
    assert not kept("give it to {agent}")
    assert not kept("give x{ticket_key} to {agent}")
    assert not kept("give {ticket_key} to {agent} and {somebody}")
    dropped = ("duplicate", "near duplicate", "invalid", "value not on the page", "place without a value")
    assert sieve.counts == {"made": 6, "kept": 1, **dict.fromkeys(dropped, 1)}


def test_requests_written_to_a_file_are_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "shop.jsonl"
    write_synthesis(made("shop"), path)
    back = read_synthesis(path, server("shop"))
    for part, other in ((made("shop").training, back.training), (made("shop").held_out, back.held_out)):
        assert [e.tool for e in part.entries] == [e.tool for e in other.entries]
        assert [[t.text for t in e.requests] for e in part.entries] == [
            [t.text for t in e.requests] for e in other.entries
        ]
        assert [[names for _, names in e.missing] for e in part.entries] == [
            [n for _, n in e.missing] for e in other.entries
        ]
        assert part.refused == other.refused and len(part.chains) == len(other.chains)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"tool": "getProdukt", "requests": ["x"]}', "no tool `getProdukt`"),
        ('{"tool": "getProduct", "requests": [{"text": "x", "args": {"productId": "many"}}]}', "productId"),
        ('{"tool": "getProduct"}', "not a line of requests"),
        ('{"part": "dev", "requests": []}', "`part` is 'dev'"),
        ("nonsense", "not a line of requests"),
    ],
)
def test_a_wrong_line_of_an_edited_file_is_named(line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "edited.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=re.escape("line 2")) as caught:
        read_synthesis(path, server("shop"))
    assert problem in str(caught.value)
