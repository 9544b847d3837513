"""JSON in a request goes to the one parameter that takes it."""

from __future__ import annotations

import pytest

from mcp_dualtune.pipeline.said_json import said_json
from mcp_dualtune.types import JSON, ToolSpec

STEPS = {"type": "array", "items": {"type": "object"}}
PROPERTIES: dict[str, JSON] = {
    "path": {"type": "string"},
    "stepList": {"anyOf": [STEPS, {"type": "null"}]},
    "options": {"type": "object", "properties": {"fast": {"type": "boolean"}}, "additionalProperties": False},
    "anything": {},
}
TOOL = ToolSpec("s", "t", "", {"type": "object", "properties": PROPERTIES}, "f" * 64)


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ('run [{"op": "cut"}] on a.wav', {"stepList": [{"op": "cut"}]}, "run step List on a.wav"),
        (
            '{"fast": true} then [{"a": 1}]',
            {"options": {"fast": True}, "stepList": [{"a": 1}]},
            "options then step List",
        ),
        ('use {"slow": 1} or [3] or [] or {broken}', {}, 'use {"slow": 1} or [3] or [] or {broken}'),
        ("nothing of the kind", {}, "nothing of the kind"),
        ("[" * 5000, {}, "[" * 5000),
    ],
)
def test_said(text: str, said: JSON, left: str) -> None:
    assert said_json(text, TOOL, list(PROPERTIES)) == (said, left)


def test_what_fits_two_parameters_is_left() -> None:
    twice = ToolSpec("s", "t", "", {"type": "object", "properties": {"a": STEPS, "b": STEPS}}, "f" * 64)
    assert said_json('[{"x": 1}]', twice, ["a", "b"]) == ({}, '[{"x": 1}]')
    assert said_json('[{"x": 1}]', twice, ["b"])[0] == {"b": [{"x": 1}]}
