"""Past requests, read back from a trace file: what was said, what was decided, and how the calls went.

Owns reading the lines that `recorder` wrote. What they hold is masked already; lines that make no sense are passed
over, because a file may be cut, edited, or written by another version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_dualtune.types import JSON, ToolCall

NEWEST = 64 * 2**20
"""Bytes that are read, from the end of the file."""


@dataclass(frozen=True)
class PastDecision:
    """What the stages chose."""

    outcome: str
    server: str | None
    tool: str | None
    arguments: Mapping[str, JSON]
    missing: tuple[str, ...]
    confidence: float | None
    origins: frozenset[str]
    """Where the values came from: `request`, `history`, `context`, `schema`, `fixed`, `model`."""


@dataclass
class PastRequest:
    """One request with everything that is known of it; the oldest event first."""

    id: str
    at: str
    text: str
    decisions: list[PastDecision] = field(default_factory=list)
    calls: list[tuple[ToolCall, bool]] = field(default_factory=list)
    """Calls that were made, and whether they failed."""
    ended: bool = False
    """Whether it came to a natural end: no limit, rule or error stopped it."""


def read_past(path: Path) -> list[PastRequest]:
    """The requests of a trace file, oldest first.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, PastRequest] = {}
    for event in _events(path):
        key, kind = event.get("request"), event.get("event")
        if not isinstance(key, str):
            continue
        if kind == "request" and isinstance(event.get("text"), str):
            found[key] = PastRequest(key, str(event.get("at")), event["text"])
        elif (past := found.get(key)) is not None:
            _take(past, kind, event)
    return list(found.values())


def _take(past: PastRequest, kind: Any, event: Mapping[str, Any]) -> None:
    if kind == "decision" and isinstance(event.get("outcome"), str):
        past.decisions.append(_decision(event))
    elif kind == "step" and isinstance(event.get("arguments"), dict):
        call = ToolCall(str(event.get("server")), str(event.get("tool")), event["arguments"])
        past.calls.append((call, event.get("is_error") is not False))
    elif kind == "end":
        past.ended = event.get("stopped_by") is None


def _decision(event: Mapping[str, Any]) -> PastDecision:
    arguments, missing, confidence = event.get("arguments"), event.get("missing"), event.get("confidence")
    provenance = event.get("provenance")
    origins = provenance.values() if isinstance(provenance, dict) else ()
    return PastDecision(
        event["outcome"],
        _text(event.get("server")),
        _text(event.get("tool")),
        arguments if isinstance(arguments, dict) else {},
        tuple(map(str, missing)) if isinstance(missing, list) else (),
        float(confidence) if isinstance(confidence, int | float) else None,
        frozenset(str(one.get("source")) for one in origins if isinstance(one, dict)),
    )


def _text(value: JSON) -> str | None:
    return value if isinstance(value, str) else None


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - NEWEST, 0))
        if size > NEWEST:
            # The first line may have lost its beginning.
            file.readline()
        for line in file:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event
