"""What may be recorded about a request: one flat record per event.

Owns names and shape of the lines in a trace file. It does not mask and does not write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mcp_dualtune.tracing.caller import NOBODY, Caller
from mcp_dualtune.types import JSON, Step, ToolCall

Kind = Literal["request", "decision", "step", "end", "error", "call", "approval", "refusal", "elicitation"]
TRACE: frozenset[Kind] = frozenset({"request", "decision", "step", "end", "error"})
"""What explains one request, for whoever tunes the model."""
AUDIT: frozenset[Kind] = frozenset({"decision", "call", "approval", "refusal", "elicitation", "error"})
"""What was done and who said yes or no, for whoever answers for it."""


@dataclass(frozen=True)
class Event:
    """One line of a trace."""

    request: str
    """Id that the events of one request share."""
    kind: Kind
    at: str
    """UTC time, ISO 8601."""
    data: Mapping[str, JSON]
    caller: Caller = NOBODY

    def to_json(self) -> dict[str, JSON]:
        """The event as the object that a sink writes."""
        who = {"door": self.caller.door, "client": self.caller.client}
        return {"at": self.at, "request": self.request, "event": self.kind, **who, **self.data}


def call_data(call: ToolCall) -> dict[str, JSON]:
    """What a call was to do."""
    return {"server": call.server, "tool": call.tool, "arguments": dict(call.arguments)}


def step_data(step: Step) -> dict[str, JSON]:
    """A finished call as trace data; the result only by its kind and size, because it is the user's own data."""
    return {
        **call_data(step.call),
        "is_error": step.result.is_error,
        "blocks": [str(block.get("type")) for block in step.result.content],
        "characters": len(step.result.text),
        "ms": step.ms,
    }
