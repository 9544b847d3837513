"""Every leaf of the arguments is traced to where its value stands."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mcp_dualtune.pipeline.provenance import belongs, find, trace_sources
from mcp_dualtune.types import JSON, HistoryItem, Provenance, Request, ToolCall

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "order": {"type": "string", "enum": ["asc", "desc"]},
        "depth": {"type": "integer", "default": 3},
        "all": {"type": "boolean"},
        "edits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"old": {"type": "string"}, "mode": {"anyOf": [{"const": "whole"}, {"type": "null"}]}},
            },
        },
    },
}


def sources(arguments: Mapping[str, JSON], text: str, **rest: object) -> dict[str, Provenance]:
    history = rest.get("history", ())
    facts = rest.get("facts", {})
    fixed = rest.get("fixed", {})
    return trace_sources(arguments, SCHEMA, Request(text, history), facts, fixed)  # type: ignore[arg-type]


def test_value_from_the_request_has_the_span_where_it_stands_alone() -> None:
    text = "not src/a.mdx but src/a.md please"
    found = sources({"path": "src/a.md"}, text)["path"]
    assert found.source == "request" and found.span is not None
    assert found.span == (18, 26) and text[slice(*found.span)] == "src/a.md"


def test_nested_leaves_have_their_own_paths_and_sources() -> None:
    arguments = {"edits": [{"old": "foo", "mode": "whole"}, {"old": "invented text", "mode": None}], "all": True}
    found = sources(arguments, "replace foo everywhere")
    assert {path: source.source for path, source in found.items()} == {
        "edits[0].old": "request",
        "edits[0].mode": "schema",
        "edits[1].old": "model",
        "edits[1].mode": "schema",
        "all": "schema",
    }


def test_latest_history_step_wins_and_comes_before_context() -> None:
    history = (
        HistoryItem(ToolCall("f", "search", {"path": "docs"}), "found docs/a.md"),
        HistoryItem(ToolCall("f", "search", {"path": "other"}), "again docs/a.md"),
    )
    facts = {"cwd": "/home/ana", "note": "docs/a.md"}
    assert sources({"path": "docs/a.md"}, "open it", history=history, facts=facts)["path"] == Provenance(
        "history", step=1
    )
    assert sources({"path": "docs"}, "open it", history=history[:1])["path"] == Provenance("history", step=0)
    assert sources({"path": "/home/ana"}, "open it", history=history, facts=facts)["path"] == Provenance("context")


def test_schema_and_fixed_values_are_named_as_such() -> None:
    found = sources({"order": "desc", "depth": 3, "path": "/r"}, "newest first in /r", fixed={"path": "/r"})
    assert {path: source.source for path, source in found.items()} == {
        "order": "schema",
        "depth": "schema",
        "path": "fixed",
    }


def test_value_found_nowhere_is_the_models_own() -> None:
    assert sources({"path": "/etc/passwd"}, "show me the file")["path"] == Provenance("model")
    assert sources({"depth": 7}, "5 levels, 17 files, v7.2")["depth"] == Provenance("model")


@pytest.mark.parametrize(
    ("value", "text", "said"),
    [
        (10, "first 10 lines", "10"),
        (10, "first ten lines", "ten"),
        (25, "twenty-five of them", "twenty-five"),
        (1000, "under 1,000 rows", "1,000"),
        (2000, "about 2k", "2k"),
        (-3, "shift by -3", "-3"),
        (0.5, "at 0.5", "0.5"),
        (0.2, "20% off", "20%"),
        (20, "20% off", "20%"),
        (12, "a dozen", "dozen"),
        (3.0, "3 times", "3"),
        ("5", "issue #5", "5"),
        ("a", "plan a", "a"),
    ],
)
def test_numbers_are_found_as_people_write_them(value: JSON, text: str, said: str) -> None:
    span = find(value, text)
    assert span is not None and text[slice(*span)] == said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "version 1.5"),
        (1, "10 files"),
        (5, "mp5 player"),
        (True, "true"),
        (None, "null"),
        ("", "x"),
        ("at", "that"),
        (8, "weight"),
    ],
)
def test_chance_matches_inside_other_words_do_not_count(value: JSON, text: str) -> None:
    assert find(value, text) is None


def test_leaf_belongs_to_its_parameter_only() -> None:
    assert belongs("path", "path") and belongs("edits[0].old", "edits") and belongs('["a b"].c', "a b")
    assert not belongs("paths", "path") and not belongs("edits[0].path", "path")
