"""The JSON that other programs rely on."""

from __future__ import annotations

import json

import jsonschema

from mcp_dualtune.errors import ServerTimeout
from mcp_dualtune.records import (
    TEXT_LIMIT,
    decision_json,
    decision_schema,
    error_json,
    trajectory_json,
    trajectory_schema,
)
from mcp_dualtune.types import Provenance, ToolResult
from tests.decisions import decision, text, trajectory


def test_a_decision_has_exactly_the_promised_keys_in_their_order() -> None:
    shown = decision_json(decision(arguments={"path": "a.md"}, provenance={"path": Provenance("request", (5, 9))}))
    assert list(shown) == [
        "outcome",
        "server",
        "tool",
        "arguments",
        "missing",
        "question",
        "confidence",
        "stages",
        "provenance",
        "ms",
    ]
    assert shown["stages"][0] == {
        "stage": "route",
        "choice": "notes",
        "probability": 0.95,
        "alternatives": [["git", 0.05]],
        "adapter": "route",
        "ms": 6.1,
    }
    assert shown["provenance"] == {"path": {"source": "request", "span": [5, 9]}}
    jsonschema.validate(shown, decision_schema())


def test_a_trajectory_keeps_every_content_block_untouched() -> None:
    block = {"type": "image", "data": "aGk=", "mimeType": "image/png", "annotations": {"priority": 0.5}}
    shown = trajectory_json(trajectory(ToolResult((block,), structured={"a": 1})))
    assert shown["steps"][0]["result"] == {"is_error": False, "content": [block], "structured": {"a": 1}}
    assert shown["outcome"] == "finish"
    jsonschema.validate(shown, trajectory_schema())


def test_a_short_trajectory_says_how_much_of_a_result_it_leaves_out() -> None:
    shown = trajectory_json(trajectory(text("x" * (TEXT_LIMIT + 7))), whole=False)
    assert shown["steps"][0]["result"] == {"is_error": False, "text": "x" * TEXT_LIMIT, "cut": 7}
    jsonschema.validate(shown, trajectory_schema())


def test_a_trajectory_that_was_stopped_says_why() -> None:
    shown = trajectory_json(trajectory(final=decision("call"), stopped_by="policy", note="The answer was no."))
    assert (shown["stopped_by"], shown["note"]) == ("policy", "The answer was no.")


def test_an_error_tells_kind_remedy_and_whether_to_retry() -> None:
    shown = error_json(ServerTimeout("git is silent.", hint="Look at its log."))
    assert json.loads(json.dumps(shown)) == {
        "error": {
            "type": "ServerTimeout",
            "message": "git is silent.",
            "hint": "Look at its log.",
            "retryable": True,
        }
    }
