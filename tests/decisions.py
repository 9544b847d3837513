"""Hand-made decisions, steps and trajectories for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.types import (
    Decision,
    Outcome,
    Provenance,
    Request,
    StageRecord,
    Step,
    ToolCall,
    ToolResult,
    Trajectory,
)


def decision(
    outcome: Outcome = "call",
    *,
    arguments: Mapping[str, Any] | None = None,
    missing: Sequence[str] = (),
    question: str | None = None,
    provenance: Mapping[str, Provenance] | None = None,
) -> Decision:
    """A decision about `notes/add`, or about nothing when the outcome is `none`."""
    named = outcome in ("call", "ask")
    return Decision(
        outcome=outcome,
        server="notes" if named else None,
        tool="add" if named else None,
        arguments=dict(arguments or {}),
        missing=tuple(missing),
        question=question,
        confidence=0.9,
        stages=(
            StageRecord("route", "notes" if named else "none", 0.95, (("git", 0.05),), "route", 6.1),
            *((StageRecord("select", "add", 0.97, (), "select/notes", 4.0),) if named else ()),
        ),
        provenance=dict(provenance or {}),
        ms=12.34,
    )


def text(words: str, *, is_error: bool = False) -> ToolResult:
    """A result of one text block."""
    return ToolResult(({"type": "text", "text": words},), is_error=is_error)


def trajectory(
    *results: ToolResult, final: Decision | None = None, stopped_by: str | None = None, note: str | None = None
) -> Trajectory:
    """A run with one step per result, ended by `final`."""
    steps = tuple(Step(decision(), ToolCall("notes", "add", {"title": "milk"}), result, 5.0) for result in results)
    return Trajectory(Request("add milk"), steps, final or decision("finish"), stopped_by, 20.0, note)
