"""A user's answers complete a call only when it is valid as a whole."""

from __future__ import annotations

import pytest

from mcp_dualtune.agent.answers import merge_answers
from mcp_dualtune.catalog.catalog import build_tool
from mcp_dualtune.errors import RequestError
from mcp_dualtune.types import JSON, Decision, Provenance

TOOL = build_tool(
    "calendar",
    {
        "name": "add",
        "inputSchema": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "days": {"type": "array", "items": {"type": "integer"}},
                "count": {"type": "integer"},
                "until": {"type": "string"},
            },
            "required": ["title", "days"],
            "not": {"required": ["count", "until"]},
        },
    },
)


def asked(*missing: str, **arguments: JSON) -> Decision:
    known = {name: Provenance("model") for name in arguments}
    return Decision("ask", "calendar", "add", arguments, missing, "Which?", 1.0, (), known, 0.0)


def test_typed_text_is_read_as_the_parameters_type() -> None:
    made = merge_answers(asked("title", "days"), TOOL, {"title": "12", "days": "[1, 2]"})
    assert (made.outcome, made.arguments) == ("call", {"title": "12", "days": [1, 2]})


def test_value_not_given_is_asked_for_again() -> None:
    made = merge_answers(asked("title", "days"), TOOL, {"title": "run", "days": ""})
    assert (made.outcome, made.missing, made.arguments) == ("ask", ("days",), {"title": "run"})
    assert made.question and "`days`" in made.question


def test_answer_changes_only_what_was_asked_for() -> None:
    made = merge_answers(asked("title", days=[1]), TOOL, {"title": "run", "days": [9], "other": 1})
    assert made.arguments == {"title": "run", "days": [1]}
    assert made.provenance == {"days": Provenance("model"), "title": Provenance("request")}


def test_values_that_do_not_fit_together_are_an_error_with_a_hint() -> None:
    with pytest.raises(RequestError, match="calendar/add") as caught:
        merge_answers(asked("title", days=[1], count=2, until="May"), TOOL, {"title": "run"})
    assert caught.value.hint
