"""Suites are read whole, and every fault in one is named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.errors import DualTuneError
from mcp_dualtune.evaluation.cases import Answer, SuiteError, built_in, check_against, load_suite
from mcp_dualtune.types import JSON, HistoryItem, ToolCall
from tests.naming_engine import tool

GOOD: dict[str, JSON] = {"id": "a", "query": "q", "expect": {"server": "s", "tool": "t", "arguments": {"x": 1}}}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "suite.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_every_form_of_answer_is_read(tmp_path: Path) -> None:
    history = [{"call": {"server": "s", "tool": "t", "arguments": {}}, "result": "ok"}]
    path = write(
        tmp_path,
        {**GOOD, "accept": [{"server": "s", "tool": "u", "missing": ["y"]}], "argument_rules": {"x": "contains:a b"}},
        "",
        {"id": "b", "query": "q", "expect": {"server": None}, "servers": ["s"], "kind": "none"},
        {"id": "c", "query": "q", "expect": {"finish": True}, "history": history},
    )
    call, nothing, finish = load_suite(path)
    assert call.answers == (Answer("call", "s", "t", {"x": 1}), Answer("ask", "s", "u", missing=frozenset({"y"})))
    assert (call.rules, call.servers, call.kind) == ({"x": "contains:a b"}, None, "other")
    assert (nothing.expected, nothing.servers, nothing.kind) == (Answer("none"), ("s",), "none")
    assert (finish.expected, finish.history) == (Answer("finish"), (HistoryItem(ToolCall("s", "t", {}), "ok"),))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "a case is a JSON object"),
        ({**GOOD, "expects": {}}, "unknown key 'expects'"),
        ({**GOOD, "id": ""}, '"id"'),
        ({**GOOD, "query": 5}, '"query"'),
        ({"id": "a", "query": "q"}, '"expect" is not an object'),
        ({**GOOD, "expect": {"server": "s"}}, '"expect" is none of'),
        ({**GOOD, "expect": {"finish": False}}, '"expect" is none of'),
        ({**GOOD, "expect": {"server": "s", "tool": "t", "missing": []}}, '"expect.missing" is empty'),
        ({**GOOD, "expect": {"server": "s", "tool": None, "arguments": {}}}, '"expect.tool"'),
        ({**GOOD, "accept": [{"server": 3}]}, '"accept[0]" is none of'),
        ({**GOOD, "argument_rules": {"x": "near"}}, "the rule 'near' of 'x'"),
        ({**GOOD, "argument_rules": {"x": "contains:"}}, "the rule 'contains:' of 'x'"),
        ({**GOOD, "servers": []}, '"servers" is empty'),
        ({**GOOD, "history": [{"call": {"server": "s", "tool": "t"}, "result": "r"}]}, '"history[0].call"'),
        ({**GOOD, "history": [{"call": {"server": "s", "tool": "t", "arguments": {}}}]}, '"history[0].result"'),
        (GOOD, "the id 'a' is that of line 1 too"),
    ],
)
def test_a_fault_is_named_with_file_and_line(row: Any, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, row)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert caught.value.message.startswith(f"{path}:2: ")
    assert problem in caught.value.message
    assert caught.value.hint


def test_a_suite_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="Cannot read the suite"):
        load_suite(tmp_path / "nothing.jsonl")
    with pytest.raises(SuiteError, match="there is no case"):
        load_suite(write(tmp_path, "", " "))


@pytest.mark.parametrize(
    "change",
    [
        {"expect": {"server": "other", "tool": "t", "arguments": {}}},
        {"expect": {"server": "s", "tool": "u", "arguments": {}}},
        {"servers": ["other"]},
        {"servers": ["r"]},
        {"accept": [{"server": "s", "tool": "gone", "arguments": {}}]},
    ],
)
def test_a_case_that_the_catalog_cannot_answer_is_refused(change: dict[str, JSON], tmp_path: Path) -> None:
    """`r` exists but does not offer the expected tool."""
    servers = (build_server("s", "", [tool("t", x={"type": "integer"})]).spec, build_server("r", "", [tool("v")]).spec)
    catalog = Catalog(servers)
    check_against(load_suite(write(tmp_path, GOOD)), catalog)
    with pytest.raises(DualTuneError, match="The case a does not fit the catalog"):
        check_against(load_suite(write(tmp_path, {**GOOD, **change})), catalog)


def test_a_parameter_that_a_closed_schema_does_not_have_is_refused(tmp_path: Path) -> None:
    wire = tool("t", y={"type": "integer"})
    wire["inputSchema"]["additionalProperties"] = False
    catalog = Catalog((build_server("s", "", [wire]).spec,))
    with pytest.raises(SuiteError, match="s/t has no parameter 'x'"):
        check_against(load_suite(write(tmp_path, GOOD)), catalog)


def test_names_of_built_in_suites_stand_for_files() -> None:
    for name in ("seven", "unseen"):
        files = built_in(name)
        assert files is not None
        assert all(file.is_file() for file in files)
    assert built_in("seven.jsonl") is None
