"""Schemas as short text."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.prompting.schema_text import DEPTH, ENUM_VALUES, literal_text, one_line, type_text


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["integer", "null"]}, "integer|null"),
        ({"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]}, "string|null"),
        ({"enum": ["asc", "desc"]}, "asc|desc"),
        ({"const": True}, "true"),
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "(string|null)[]"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "number[][]"),
        ({"type": "object"}, "object"),
        (
            {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
            "{a*: string, b: integer}",
        ),
        ({}, "any"),
        (True, "any"),
    ],
)
def test_types_read_like_typescript(schema: Any, text: str) -> None:
    assert type_text(schema) == text


def test_long_enums_are_cut_with_an_ellipsis() -> None:
    options = type_text({"enum": [f"v{n}" for n in range(ENUM_VALUES + 9)]}).split("|")
    assert options == [*(f"v{n}" for n in range(ENUM_VALUES)), "…"]


def test_deep_objects_end_as_object() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(DEPTH + 3):
        schema = {"type": "object", "properties": {"x": schema}}
    assert type_text(schema).count("{") == DEPTH
    assert "object" in type_text(schema)


def test_literals_and_lines() -> None:
    assert [literal_text(value) for value in (True, False, None, 3, "a b")] == ["true", "false", "null", "3", "a b"]
    assert one_line(" a\n\t b  c ") == "a b c"
