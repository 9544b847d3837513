"""What may be recorded about a request: one flat record per event.

Owns names and shape of the lines in a trace file. It does not mask and does not write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mcp_dualtune.types import JSON, Step

Kind = Literal["request", "decision", "step", "end", "error"]


@dataclass(frozen=True)
class Event:
    """One line of a trace."""

    request: str
    """Id that the events of one request share."""
    kind: Kind
    at: str
    """UTC time, ISO 8601."""
    data: Mapping[str, JSON]

    def to_json(self) -> dict[str, JSON]:
        """The event as the object that a sink writes."""
        return {"at": self.at, "request": self.request, "event": self.kind, **self.data}


def step_data(step: Step) -> dict[str, JSON]:
    """A finished call as trace data; the result only by its kind and size, because it is the user's own data."""
    return {
        "server": step.call.server,
        "tool": step.call.tool,
        "arguments": dict(step.call.arguments),
        "is_error": step.result.is_error,
        "blocks": [str(block.get("type")) for block in step.result.content],
        "characters": len(step.result.text),
        "ms": step.ms,
    }
