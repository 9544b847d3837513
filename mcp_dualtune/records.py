"""The JSON that other programs read: a decision, a trajectory, an error, and the schemas that describe them.

Owns spelling and order of these keys, the same for every front door. Refuses to know MCP, HTTP or terminals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.errors import DualTuneError
from mcp_dualtune.types import JSON, Decision, Provenance, Step, ToolResult, Trajectory

TEXT_LIMIT = 4000
"""Characters of a result's text that a step repeats; the last result travels whole beside the trajectory."""


def decision_json(decision: Decision) -> dict[str, JSON]:
    """One decision with every stage that led to it; times in milliseconds, probabilities 0..1."""
    return {
        "outcome": decision.outcome,
        "server": decision.server,
        "tool": decision.tool,
        "arguments": dict(decision.arguments),
        "missing": list(decision.missing),
        "question": decision.question,
        "confidence": round(decision.confidence, 4),
        "stages": [
            {
                "stage": stage.stage,
                "choice": stage.choice,
                "probability": round(stage.probability, 4),
                "alternatives": [[name, round(probability, 4)] for name, probability in stage.alternatives],
                "adapter": stage.adapter,
                "ms": round(stage.ms, 1),
            }
            for stage in decision.stages
        ],
        "provenance": {path: _provenance_json(origin) for path, origin in decision.provenance.items()},
        "ms": round(decision.ms, 1),
    }


def _provenance_json(origin: Provenance) -> dict[str, JSON]:
    found: dict[str, JSON] = {"source": origin.source}
    if origin.span is not None:
        found["span"] = list(origin.span)
    if origin.step is not None:
        found["step"] = origin.step
    return found


def result_json(result: ToolResult, *, whole: bool) -> dict[str, JSON]:
    """A tool's answer: content blocks untouched when `whole`, else its text cut to `TEXT_LIMIT` characters."""
    found: dict[str, JSON] = {"is_error": result.is_error}
    if whole:
        found["content"] = [dict(block) for block in result.content]
        if result.structured is not None:
            found["structured"] = result.structured
        return found
    text = result.text
    found["text"] = text[:TEXT_LIMIT]
    if len(text) > TEXT_LIMIT:
        found["cut"] = len(text) - TEXT_LIMIT
    return found


def step_json(step: Step, *, whole: bool) -> dict[str, JSON]:
    """One executed call: the decision, the call as sent, what came back."""
    return {
        "decision": decision_json(step.decision),
        "call": {"server": step.call.server, "tool": step.call.tool, "arguments": dict(step.call.arguments)},
        "result": result_json(step.result, whole=whole),
        "ms": round(step.ms, 1),
    }


def trajectory_json(trajectory: Trajectory, *, whole: bool = True) -> dict[str, JSON]:
    """A whole run; `whole` keeps every result untouched, else results are cut to their first text."""
    return {
        "outcome": trajectory.final.outcome,
        "steps": [step_json(step, whole=whole) for step in trajectory.steps],
        "final": decision_json(trajectory.final),
        "stopped_by": trajectory.stopped_by,
        "note": trajectory.note,
        "ms": round(trajectory.ms, 1),
    }


def error_json(error: DualTuneError) -> dict[str, JSON]:
    """An error for a program: its kind, one sentence, what to do, and whether trying again may help."""
    return {
        "error": {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
        }
    }


def _object(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required or properties)}


_TEXT: dict[str, Any] = {"type": "string"}
_MAYBE_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_NUMBER: dict[str, Any] = {"type": "number"}
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
_LIST: dict[str, Any] = {"type": "array"}


def decision_schema() -> dict[str, Any]:
    """JSON schema of `decision_json`."""
    stage = _object(
        {
            "stage": {"enum": ["route", "select", "arguments"]},
            "choice": _TEXT,
            "probability": _NUMBER,
            "alternatives": _LIST,
            "adapter": _TEXT,
            "ms": _NUMBER,
        }
    )
    return _object(
        {
            "outcome": {"enum": ["call", "ask", "none", "finish"]},
            "server": _MAYBE_TEXT,
            "tool": _MAYBE_TEXT,
            "arguments": _ANY_OBJECT,
            "missing": {"type": "array", "items": _TEXT},
            "question": _MAYBE_TEXT,
            "confidence": _NUMBER,
            "stages": {"type": "array", "items": stage},
            "provenance": _ANY_OBJECT,
            "ms": _NUMBER,
        }
    )


def trajectory_schema() -> dict[str, Any]:
    """JSON schema of `trajectory_json`."""
    call = _object({"server": _TEXT, "tool": _TEXT, "arguments": _ANY_OBJECT})
    step = _object({"decision": _ANY_OBJECT, "call": call, "result": _ANY_OBJECT, "ms": _NUMBER})
    return _object(
        {
            "outcome": {"enum": ["call", "ask", "none", "finish"]},
            "steps": {"type": "array", "items": step},
            "final": decision_schema(),
            "stopped_by": _MAYBE_TEXT,
            "note": _MAYBE_TEXT,
            "ms": _NUMBER,
        }
    )
