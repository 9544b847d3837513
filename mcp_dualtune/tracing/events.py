"""What may be recorded about a request: one flat record per event.

Owns names and shape of the lines in a trace file. It does not mask and does not write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mcp_dualtune.tracing.caller import NOBODY, Caller
from mcp_dualtune.types import JSON, Step, ToolCall

Kind = Literal[
    "request", "decision", "step", "end", "error", "call", "approval", "refusal", "elicitation", "access", "question"
]
TRACE: frozenset[Kind] = frozenset({"request", "decision", "step", "end", "error"})
"""What explains one request, for whoever tunes the model."""
AUDIT: frozenset[Kind] = frozenset(
    {"decision", "call", "approval", "refusal", "elicitation", "access", "question", "error"}
)
"""What was done and who said yes or no, for whoever answers for it."""


LONGEST_MESSAGE, MOST_FIELDS = 500, 50


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


def access_data(server: str, method: str, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """What a client's request that is no call was for; of a completion not what was typed so far."""
    data: dict[str, JSON] = {"server": server, "method": method}
    if method == "completion/complete":
        ref, argument = params.get("ref") or {}, params.get("argument") or {}
        return {**data, "of": ref.get("name", ref.get("uri")), "argument": argument.get("name")}
    return data | {key: params[key] for key in ("uri", "name", "arguments") if key in params}


def question_data(server: str, method: str, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """What a server asked of the user, bounded: its words and the values' names, of a conversation only its size."""
    data: dict[str, JSON] = {"server": server, "method": method}
    if method == "elicitation/create":
        data["message"] = str(params.get("message", ""))[:LONGEST_MESSAGE]
        if params.get("mode") == "url":
            # What follows the path is for the page that is shown, and may be a secret.
            return {**data, "url": str(params.get("url", "")).split("?")[0].split("#")[0][:LONGEST_MESSAGE]}
        schema = params.get("requestedSchema")
        fields = schema.get("properties") if isinstance(schema, Mapping) else None
        return {**data, "asked": [str(name) for name in list(fields or ())[:MOST_FIELDS]]}
    if method == "sampling/createMessage":
        messages = params.get("messages")
        return {**data, "messages": len(messages) if isinstance(messages, list) else 0}
    return data


def answer_data(answer: JSON) -> dict[str, JSON]:
    """To which kind of question this is the answer, and what it comes to; never what it says."""
    if not isinstance(answer, Mapping):
        return {"method": None, "status": "not MCP"}
    if "action" in answer:
        return {"method": "elicitation/create", "status": str(answer["action"])}
    return {"method": "roots/list" if "roots" in answer else "sampling/createMessage", "status": "ok"}
