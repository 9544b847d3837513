"""Collects the events of requests and hands them, masked, to the sinks.

Owns ids, times and the rule that tracing never breaks a request: a sink that fails is reported once and then left
out. With no sinks it does nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from time import perf_counter
from typing import Protocol, TypeVar

from mcp_dualtune.errors import DualTuneError, InputRequired
from mcp_dualtune.tracing.caller import Caller, caller
from mcp_dualtune.tracing.events import Event, Kind, access_data, answer_data, call_data, question_data, step_data
from mcp_dualtune.types import JSON, Decision, Step, ToolCall, ToolResult, Trajectory

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where events go."""

    kinds: frozenset[Kind]
    """The events it takes."""

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
        trace = self.follow()
        trace.record("request", {"text": text, "servers": list(servers) if servers is not None else None})
        return trace

    def follow(self) -> RequestTrace:
        """Start the trace of what is not a request in words: a call that a client names itself."""
        return RequestTrace(self, uuid.uuid4().hex[:12])

    def emit(self, request: str, kind: Kind, data: Mapping[str, JSON], who: Caller) -> None:
        """Write one event to every sink that still works."""
        if not self._sinks:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        event = Event(request, kind, at, self._redact(data), Caller(who.door, self._redact(who.client)))
        for sink in tuple(self._sinks):
            try:
                if kind in sink.kinds:
                    sink.write(event.to_json())
            except OSError as error:
                self._sinks.remove(sink)
                logger.warning("Writing to %s stopped: %s", sink, error.strerror or type(error).__name__)

    def close(self) -> None:
        """Close all sinks."""
        for sink in self._sinks:
            sink.close()
        self._sinks.clear()


class RequestTrace:
    """The events of one request, all under the name of who made it."""

    def __init__(self, recorder: Recorder, request: str) -> None:
        self._recorder = recorder
        self._who = caller()
        self.id = request

    def record(self, kind: Kind, data: Mapping[str, JSON]) -> None:
        """Record any event."""
        self._recorder.emit(self.id, kind, data, self._who)

    def decision(self, decision: Decision) -> None:
        """Record what the stages chose."""
        self.record("decision", asdict(decision))

    def step(self, step: Step) -> None:
        """Record a call and the kind of its result."""
        self.record("step", step_data(step))

    async def call(self, call: ToolCall, work: Awaitable[ToolResult]) -> ToolResult:
        """Wait for the call that `work` makes, and record how it ended, also when nobody waits any more."""
        with self._timed("call", call_data(call)) as ended:
            result = await work
            ended["status"] = "error" if result.is_error else "ok"
        return result

    async def access(self, server: str, method: str, params: Mapping[str, JSON], work: Awaitable[Result]) -> Result:
        """The same for a client's request that is no call."""
        with self._timed("access", access_data(server, method, params)) as ended:
            result = await work
            ended["status"] = "ok"
        return result

    async def question(self, server: str, method: str, params: Mapping[str, JSON], work: Awaitable[JSON]) -> JSON:
        """The same for a server's question to the user, which `work` puts; not what the answer says."""
        with self._timed("question", question_data(server, method, params)) as ended:
            answer = await work
            ended["status"] = answer_data(answer)["status"]
        return answer

    def answers(self, server: str, given: JSON) -> None:
        """Record that a request brings the user's answers to what its server asked before."""
        for answer in given.values() if isinstance(given, Mapping) else ():
            self.record("question", {"server": server, **answer_data(answer)})

    @contextmanager
    def _timed(self, kind: Kind, data: Mapping[str, JSON]) -> Iterator[dict[str, JSON]]:
        began = perf_counter()
        ended: dict[str, JSON] = {"status": "cancelled"}
        try:
            yield ended
        except InputRequired as asked:
            ended["status"] = "asks"
            for question in asked.questions:
                params = question.get("params") or {}
                about = question_data(str(data["server"]), str(question.get("method")), params)
                self.record("question", {**about, "status": "passed on"})
            raise
        except DualTuneError as error:
            ended["status"] = type(error).__name__
            raise
        finally:
            self.record(kind, {**data, **ended, "ms": round((perf_counter() - began) * 1000, 1)})

    def approval(self, call: ToolCall, reason: str) -> None:
        """Record that the user said yes to a call."""
        self.record("approval", {**call_data(call), "reason": reason})

    def refusal(self, call: ToolCall, reason: str) -> None:
        """Record that a call was not made."""
        self.record("refusal", {**call_data(call), "reason": reason})

    def elicitation(self, server: str | None, tool: str | None, asked: Sequence[str], answered: bool) -> None:
        """Record that the user was asked for values, and whether they were given; not which."""
        self.record("elicitation", {"server": server, "tool": tool, "asked": list(asked), "answered": answered})

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
