"""The requests that people wrote for the tuned servers: every line is usable, every expansion fits its tool."""

from __future__ import annotations

import json
import random
from importlib import resources
from typing import Any

import pytest

from mcp_dualtune.catalog.schema import clean_schema, validate_arguments
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.records import Chain, Entry, RequestTemplate, parse_entry, said, substitute
from mcp_dualtune.training.sources import TUNED, Corpus, make_server

CATALOG = json.loads(resources.files("mcp_dualtune.evaluation").joinpath("suites/catalog.json").read_text("utf-8"))
TRAINED = resources.files("mcp_dualtune.training").joinpath("servers")
LISTED = {name: json.loads(TRAINED.joinpath(f"{name}.json").read_text("utf-8")) for name in TUNED}
LISTED |= {server["name"]: server for server in CATALOG["servers"]}
SCHEMAS = {
    (name, tool["name"]): clean_schema(tool.get("inputSchema") or tool.get("parameters"))
    for name, server in LISTED.items()
    for tool in server["tools"]
}


def lines(server: str) -> list[dict[str, Any]]:
    text = resources.files("mcp_dualtune.training").joinpath(f"phrases/{server}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def expansions(template: RequestTemplate) -> list[dict[str, Any]]:
    """Arguments of a template in which every value of every place occurs at least once."""
    places = template.places
    count = max((len(template.values[name]) for name in places), default=1)
    return [
        {**template.arguments, **{n: said(template.values[n][k % len(template.values[n])])[1] for n in places}}
        for k in range(count)
    ]


def misfits(entry: Entry, schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(tool, wording, what is wrong) of every request whose values do not fit the tool."""
    problems = []
    for template, lacking in [(one, ()) for one in entry.requests] + list(entry.missing):
        optional = {*entry.ambient, *lacking}
        asked = {**schema, "required": [name for name in schema.get("required", ()) if name not in optional]}
        for arguments in expansions(template):
            problems += [(entry.tool, template.text, what) for what in validate_arguments(asked, arguments)]
            problems += [(entry.tool, template.text, f"{n} is there") for n in lacking if n in arguments]
    return problems


@pytest.mark.parametrize("server", TUNED)
def test_every_line_is_a_tool_with_requests_or_a_chain(server: str) -> None:
    for row in lines(server):
        if "steps" in row:
            assert row["text"] and row["steps"]
            assert all("tool" in step for step in row["steps"])
        else:
            assert parse_entry(server, row["tool"], row).requests


@pytest.mark.parametrize("server", LISTED)
def test_every_value_of_a_request_fits_the_schema(server: str) -> None:
    problems = []
    for row in lines(server):
        if "steps" in row:
            continue
        entry = parse_entry(server, row["tool"], row)
        schema = SCHEMAS[server, entry.tool]
        problems += misfits(entry, schema)
    assert not problems, problems[:5]


@pytest.mark.parametrize("server", LISTED)
def test_every_step_of_a_chain_fits_the_schema(server: str) -> None:
    problems = []
    for row in lines(server):
        known = {name: said(values[0]) for name, values in (row.get("values") or {}).items()}
        for step in row.get("steps", ()):
            arguments = {name: substitute(value, known) for name, value in (step.get("args") or {}).items()}
            schema = SCHEMAS[server, step["tool"]]
            asked = {**schema, "required": [n for n in schema.get("required", ()) if n != "repo_path"]}
            problems += [(row["text"], step["tool"], what) for what in validate_arguments(asked, arguments)]
    assert not problems, problems[:5]


def corpus(server: str = "git") -> Corpus:
    """One tuned server as `sources` would load it."""
    spec = make_server(server, "", LISTED[server]["tools"])
    assert spec is not None
    made = Corpus(servers={server: spec}, tuned=(server,))
    for row in lines(server):
        if "steps" in row:
            made.chains[server].append(Chain(server, row["text"], row.get("values") or {}, tuple(row["steps"])))
        else:
            made.entries[server].append(parse_entry(server, row["tool"], row))
    return made


def test_drawn_cases_are_complete_or_say_what_is_missing() -> None:
    """Every required parameter is an argument, fixed by the config, or listed as missing: never two, never none."""
    maker, rng = CaseMaker(corpus()), random.Random(1)
    kinds = {"fixed": 0, "context": 0, "missing": 0}
    entries = [entry for entry in maker.corpus.entries["git"] if entry.ambient]
    for _ in range(400):
        entry = rng.choice(entries)
        case = maker.single("git", entry, rng)
        assert case.arguments is not None
        required = SCHEMAS["git", case.tool]["required"]
        for name in required:
            assert (name in case.arguments) + (name in case.fixed) + (name in case.missing) == 1, (case, name)
        for name in entry.ambient:
            value = case.arguments.get(name)
            kinds["fixed"] += name in case.fixed
            kinds["context"] += value in case.context.values()
            kinds["missing"] += name in case.missing
        if "repo_path" in case.missing:
            assert "cwd" not in case.context
    assert min(kinds.values()) > 20, kinds


def test_histories_end_with_finish_or_the_next_call() -> None:
    maker, rng = CaseMaker(corpus()), random.Random(2)
    names = {tool.name for tool in maker.corpus.servers["git"].tools}
    drawn = [maker.request("git", rng) for _ in range(300)]
    with_history = [case for case in drawn if case.history]
    assert len(with_history) > 20
    assert {case.tool for case in drawn} <= names | {"finish"}
    assert all(case.history for case in drawn if case.tool == "finish")
    assert all(item.call.tool in names for case in with_history for item in case.history)


def test_entries_are_records() -> None:
    entry = parse_entry("s", "t", {"requests": ["do {a}", {"text": "{b}!", "args": {"a": 1}}], "values": {"a": ["x"]}})
    assert entry == Entry(
        "s", "t", (RequestTemplate("do {a}", {}, {"a": ["x"]}), RequestTemplate("{b}!", {"a": 1}, {"a": ["x"]}))
    )
