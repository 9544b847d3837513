"""Events of open HTTP streams, kept so that a client may fetch what it missed (up to 2025-11-25)."""

from __future__ import annotations

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage

KEPT = 1_000
"""Events in memory; older ones are gone."""


class RecentEvents(EventStore):
    """The latest events of all streams, numbered in the order in which they came."""

    def __init__(self) -> None:
        self._events: dict[int, tuple[str, JSONRPCMessage | None]] = {}
        self._last = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep one event; without a message it only marks where a stream begins."""
        self._last += 1
        self._events[self._last] = stream_id, message
        self._events.pop(self._last - KEPT, None)
        return str(self._last)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came on the same stream after an event; None when that event is not known."""
        place = int(last_event_id) if last_event_id.isdecimal() else 0
        if place not in self._events:
            return None
        stream = self._events[place][0]
        for number, (owner, message) in list(self._events.items()):
            if number > place and owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
