"""What was sent on the HTTP streams of handshake sessions, kept for a client whose connection broke.

Owns the events of one session each, within bounds. Refuses to own the streams (the SDK's) and what is sent. The
stateless protocol has no sessions and nothing to resume.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from weakref import WeakSet

from mcp.server.lowlevel import Server
from mcp.server.streamable_http import GET_STREAM_KEY, EventCallback, EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

MOST_EVENTS, MOST_BYTES = 200, 1 << 20
"""Of one session; of larger answers nothing is kept."""
ALL_BYTES = 64 << 20
"""Of all sessions together; beyond, whoever sends more keeps less."""

RETRY_MS = 1_000
"""What clients are told to wait before they come back."""


@dataclass(frozen=True)
class _Kept:
    number: int
    stream: str
    message: JSONRPCMessage | None
    """None marks the place where a stream began."""
    size: int


class Replay(EventStore):
    """The latest events of one session; an event's id is its number and the stream it was sent on."""

    def __init__(self, beside: WeakSet[Replay] | None = None) -> None:
        self.size = 0
        """Bytes that are kept."""
        self._events: deque[_Kept] = deque()
        self._number = self._forgotten = 0
        self._beside = beside if beside is not None else WeakSet()
        self._beside.add(self)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event and give its id."""
        self._number += 1
        size = 0 if message is None else len(message.model_dump_json(by_alias=True, exclude_unset=True))
        self._events.append(_Kept(self._number, stream_id, message, size))
        self.size += size
        full = size > 0 and sum(other.size for other in self._beside) > ALL_BYTES
        while self._events and (len(self._events) > MOST_EVENTS or self.size > MOST_BYTES or full):
            gone = self._events.popleft()
            self.size -= gone.size
            self._forgotten = gone.number
            full = full and bool(self.size)
        return f"{self._number}/{stream_id}"

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came after an event on its stream; the stream, where more may come on it.

        A request's stream of which something is forgotten is not taken up again: its client would wait for ever.
        """
        number, _, stream = last_event_id.partition("/")
        if not number.isascii() or not number.isdecimal() or int(number) > self._number:
            return None
        seen = int(number)
        if stream != GET_STREAM_KEY and seen < self._forgotten:
            return None
        missed = [kept for kept in self._events if kept.stream == stream and kept.number > seen]
        for kept in missed:
            if kept.message is not None:
                await send_callback(EventMessage(kept.message, f"{kept.number}/{stream}"))
        answered = any(isinstance(kept.message, JSONRPCResponse | JSONRPCError) for kept in missed)
        return None if answered and stream != GET_STREAM_KEY else stream


class Sessions(StreamableHTTPSessionManager):
    """The SDK's sessions, each with a store of its own: what one was sent can never be asked for by another."""

    def __init__(self, app: Server, security: TransportSecuritySettings, resume: bool) -> None:
        self._resume = resume
        self._stores: WeakSet[Replay] = WeakSet()
        super().__init__(app, security_settings=security, retry_interval=RETRY_MS)

    @property
    def event_store(self) -> EventStore | None:
        """A new one for everybody who looks; the SDK looks once for each session."""
        return Replay(self._stores) if self._resume else None

    @event_store.setter
    def event_store(self, ignored: EventStore | None) -> None:
        """There is no common one."""
