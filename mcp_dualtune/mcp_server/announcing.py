"""What clients are told without asking: changed lists, changed resources, and how the servers want to be used.

Owns the sessions of handshake clients, the bus that clients of the stateless protocol listen on, and the instructions.
Refuses to own what is shown (`exposure`, `shelf`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import mcp.types as mcp_types
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from mcp_dualtune.mcp_server.sessions import MODERN, ONE_USER, Context, Session, connection_of
from mcp_dualtune.security.untrusted import clean_text

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway

PUSH_LIMIT = 5.0
"""Seconds for clients to take a notice; one that does not read must not hold up the next."""
HANDSHAKE_PATIENCE = 2.0
"""Seconds after the start until which a handshake waits for the servers' instructions."""
INSTRUCTION_CHARS, ALL_INSTRUCTIONS_CHARS = 2_000, 8_000
"""Of one server, and of all together."""
Lists = Mapping[str, object]
"""By kind of list, something that is equal while the list is."""
_EVENTS: Mapping[str, ServerEvent] = {
    "tools": ToolsListChanged(),
    "prompts": PromptsListChanged(),
    "resources": ResourcesListChanged(),
}


class Announcer:
    """Tells the clients of one server; `lists` gives what they see now."""

    def __init__(self, gateway: Gateway, lists: Callable[[], Lists], one_user: bool) -> None:
        self.exposing = gateway.config.settings.expose != "none"
        self._gateway, self._lists, self._one_user = gateway, lists, one_user
        self._sessions: dict[Connection, Session] = {}
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._listening: dict[tuple[str, str], Counter[str]] = {}
        self._changed, self._updated = anyio.Event(), anyio.Event()
        self._updates: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Announce while this context is open."""
        offers, changed = self._gateway.offers, self._gateway.changed
        async with anyio.create_task_group() as tasks:
            if self.exposing:
                changed.append(self.note_change)
                offers.updated.append(self._note_update)
                tasks.start_soon(self._announce_lists)
                tasks.start_soon(self._announce_updates)
            try:
                yield
            finally:
                if self.exposing:
                    changed.remove(self.note_change)
                    offers.updated.remove(self._note_update)
                tasks.cancel_scope.cancel()

    async def greet(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware: know who is there, and add the servers' instructions to ours at the handshake."""
        opening = ctx.method in ("initialize", "server/discover")
        if not opening and ctx.protocol_version < MODERN:
            self._meet(connection_of(ctx))
        if not opening or not self.exposing:
            return await call_next(ctx)
        await self._gateway.wait_start(HANDSHAKE_PATIENCE)
        result = await call_next(ctx)
        if isinstance(result, dict):
            result["instructions"] = self._instructions(result.get("instructions") or "")
        return result

    async def listen(
        self, ctx: Context, params: mcp_types.SubscriptionsListenRequestParams, find: Callable[[str], Any]
    ) -> mcp_types.SubscriptionsListenResult:
        """Serve one stream of news; `find` says whose resource a URI is."""
        places = [(find(uri), uri) for uri in params.notifications.resource_subscriptions or () if find(uri)]
        for place, uri in places:
            self._listening.setdefault(place, Counter())[uri] += 1
        try:
            for place, _ in places:
                await self._gateway.subscribe(*place)
            return await self._listen(ctx, params)
        finally:
            with anyio.CancelScope(shield=True):
                for place, uri in places:
                    self._listening[place] -= Counter((uri,))
                    if not self._listening[place]:
                        del self._listening[place]
                    await self._gateway.offers.unsubscribe(*place)

    def note_change(self) -> None:
        """Something may look different now."""
        self._changed.set()

    def roots_changed(self, connection: Connection) -> None:
        """A client's folders are others now."""
        user = ONE_USER if self._one_user else connection
        self._gateway.offers.say_roots_changed(user, shared=self._one_user)

    def _meet(self, connection: Connection) -> None:
        if connection in self._sessions or not connection.initialize_accepted:
            return
        session = Session(connection, ONE_USER if self._one_user else connection)
        session.settle_in()
        self._sessions[connection] = session
        connection.exit_stack.push_async_callback(self._part, connection)
        if self._one_user and self.exposing:
            self._gateway.stand_in(session)
            if "roots" in session.capabilities:
                # Servers that asked before the client came got no answer; now they may ask again.
                self.roots_changed(connection)

    async def _part(self, connection: Connection) -> None:
        session = self._sessions.pop(connection, None)
        offers = self._gateway.offers
        if self._one_user:
            self._gateway.stand_in(next(iter(self._sessions.values()), None))
        else:
            await offers.close_of(connection)
        for place in session.subscribed if session else ():
            await offers.unsubscribe(*place)

    def _instructions(self, ours: str) -> str:
        told = [ours] if ours else []
        room = ALL_INSTRUCTIONS_CHARS
        for offer in self._gateway.offers:
            text = clean_text((self._gateway.instructions(offer.server) or "").strip(), min(INSTRUCTION_CHARS, room))
            if text:
                told.append(f"The server {offer.server} says: {text}")
                room -= len(text)
        return "\n\n".join(told)

    def _note_update(self, server: str, uri: str) -> None:
        self._updates.add((server, uri))
        self._updated.set()

    async def _announce_lists(self) -> None:
        """Tell every client which lists are others now; changes close together are told once."""
        told = self._lists()
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            now = self._lists()
            for kind in [kind for kind in now if now[kind] != told.get(kind)]:
                await self._bus.publish(_EVENTS[kind])
                await self._push(list(self._sessions), f"notifications/{kind}/list_changed", None)
            told = now

    async def _announce_updates(self) -> None:
        while True:
            await self._updated.wait()
            self._updated = anyio.Event()
            while self._updates:
                server, uri = self._updates.pop()
                for public in +self._listening.get((server, uri), Counter()):
                    await self._bus.publish(ResourceUpdated(public))
                for session in list(self._sessions.values()):
                    for (owner, own), public in list(session.subscribed.items()):
                        # A server may tell of a part of what was subscribed to.
                        if owner == server and (uri == own or uri.startswith(own.rstrip("/") + "/")):
                            told = public if uri == own else uri
                            await self._push([session.connection], "notifications/resources/updated", {"uri": told})

    async def _push(self, connections: list[Connection], method: str, params: Mapping[str, Any] | None) -> None:
        with anyio.move_on_after(PUSH_LIMIT):
            async with anyio.create_task_group() as tasks:
                for connection in connections:
                    tasks.start_soon(connection.notify, method, params)
