"""Forms for a person, and what the filled form means."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import build_tool
from mcp_dualtune.mcp_server.questions import confirm_message, missing_form, read_answers
from mcp_dualtune.types import ToolCall, ToolSpec


def tool(**properties: Any) -> ToolSpec:
    return build_tool("files", {"name": "edit", "inputSchema": {"type": "object", "properties": properties}})


def test_a_form_has_only_flat_fields() -> None:
    """Elicitation forms know text, numbers, booleans and choices, and nothing else."""
    spec = tool(
        path={"type": "string", "description": "the file", "pattern": "^/", "minLength": 1},
        count={"type": ["integer", "null"], "minimum": 1},
        mode={"type": "string", "enum": ["r", "w"]},
        names={"type": "array", "items": {"type": "string"}},
        options={"type": "object", "properties": {"a": {"type": "string"}}},
        either={"anyOf": [{"type": "null"}, {"type": "boolean"}]},
        unknown={},
    )
    form = missing_form(spec, list(spec.input_schema["properties"]))
    fields = form["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "path": "string",
        "count": "integer",
        "mode": "string",
        "names": "string",
        "options": "string",
        "either": "boolean",
        "unknown": "string",
    }
    assert fields["path"] == {"type": "string", "description": "the file", "minLength": 1}
    assert fields["mode"]["enum"] == ["r", "w"]
    assert "commas" in fields["names"]["description"]
    assert form["required"] == list(fields)


@pytest.mark.parametrize(
    ("schema", "typed", "meant"),
    [
        ({"type": "array", "items": {"type": "string"}}, "a.txt, b c.txt", ["a.txt", "b c.txt"]),
        ({"type": "array", "items": {"type": "integer"}}, "1, 2", "[1,2]"),
        ({"type": "array", "items": {"type": "string"}}, '["a,b"]', '["a,b"]'),
        ({"type": "string"}, "a, b", "a, b"),
        ({"type": "integer"}, 3, 3),
    ],
)
def test_typed_lists_become_lists_and_other_answers_stay(schema: Any, typed: Any, meant: Any) -> None:
    assert read_answers(tool(value=schema), {"value": typed}) == {"value": meant}


def test_a_confirmation_shows_the_whole_call() -> None:
    shown = confirm_message(ToolCall("files", "delete", {"path": "/a/ü"}), "It may destroy something.")
    assert "It may destroy something." in shown and "files/delete" in shown and '"/a/ü"' in shown
