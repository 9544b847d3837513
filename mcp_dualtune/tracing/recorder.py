"""Collects the events of requests and hands them, masked, to the sinks.

Owns ids, times and the rule that tracing never breaks a request: a sink that fails is reported once and then left
out. With no sinks it does nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Protocol

from mcp_dualtune.tracing.events import Event, Kind, step_data
from mcp_dualtune.types import JSON, Decision, Step, Trajectory

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where events go."""

    def write(self, line: Mapping[str, JSON]) -> None:
        """Store one event.

        Raises:
            OSError: it cannot be stored.
        """
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


class Recorder:
    """One per gateway; `redact` masks every event before a sink sees it."""

    def __init__(self, sinks: Sequence[Sink], redact: Callable[[JSON], JSON]) -> None:
        self._sinks = list(sinks)
        self._redact = redact

    def begin(self, text: str, servers: Sequence[str] | None = None) -> RequestTrace:
        """Start the trace of one request."""
        trace = RequestTrace(self, uuid.uuid4().hex[:12])
        trace.record("request", {"text": text, "servers": list(servers) if servers is not None else None})
        return trace

    def emit(self, request: str, kind: Kind, data: Mapping[str, JSON]) -> None:
        """Write one event to every sink that still works."""
        if not self._sinks:
            return
        event = Event(request, kind, datetime.now(UTC).isoformat(timespec="milliseconds"), self._redact(data))
        for sink in tuple(self._sinks):
            try:
                sink.write(event.to_json())
            except OSError as error:
                self._sinks.remove(sink)
                logger.warning("Tracing to %s stopped: %s", sink, error.strerror or type(error).__name__)

    def close(self) -> None:
        """Close all sinks."""
        for sink in self._sinks:
            sink.close()
        self._sinks.clear()


class RequestTrace:
    """The events of one request."""

    def __init__(self, recorder: Recorder, request: str) -> None:
        self._recorder = recorder
        self.id = request

    def record(self, kind: Kind, data: Mapping[str, JSON]) -> None:
        """Record any event."""
        self._recorder.emit(self.id, kind, data)

    def decision(self, decision: Decision) -> None:
        """Record what the stages chose."""
        self.record("decision", asdict(decision))

    def step(self, step: Step) -> None:
        """Record a call and the kind of its result."""
        self.record("step", step_data(step))

    def end(self, trajectory: Trajectory) -> None:
        """Record how the run ended."""
        data = {
            "outcome": trajectory.final.outcome,
            "steps": len(trajectory.steps),
            "stopped_by": trajectory.stopped_by,
            "note": trajectory.note,
            "ms": trajectory.ms,
        }
        self.record("end", data)

    def error(self, error: Exception) -> None:
        """Record that the request failed."""
        self.record("error", {"type": type(error).__name__, "message": str(error)})
