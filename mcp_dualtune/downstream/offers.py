"""What all servers offer besides their tools, and the requests of clients for it.

Owns the latest offers, the resources that clients want to hear of, and who answers while no request runs. Refuses to
own: which server a name or URI means (`mcp_server`), connections (`pool`, `lanes`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType

import anyio
from anyio.abc import TaskGroup

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.connection import Connection, Progress
from mcp_dualtune.downstream.lanes import Lanes
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.downstream.questions import Caller, Forwarded
from mcp_dualtune.errors import DownstreamError
from mcp_dualtune.types import JSON, Offer, ToolCall, ToolResult

Standing = Callable[[str], Caller]
"""Gives for the name of a server who answers it."""

logger = logging.getLogger(__name__)


class Offers:
    """The offers of a pool's servers; enter it inside the pool."""

    def __init__(self, pool: Pool) -> None:
        self.updated: list[Callable[[str, str], None]] = []
        """Called with server and URI when a resource that somebody subscribed to has changed; must not block."""
        self._pool = pool
        self._lanes = Lanes(pool)
        self._offers: dict[str, Offer] = {}
        self._wanted: dict[str, Counter[str]] = {}
        self._standing: Standing | None = None
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Offers:
        await self._lanes.__aenter__()
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        group, self._group = self._group, None
        assert group is not None
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)
        return await self._lanes.__aexit__(kind, error, trace)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._offers.values())

    def note(self, server: str, prompts: Iterable[Mapping[str, JSON]] | None = None) -> None:
        """A server is ready, or offers something else now; of its `prompts` only these are shown, None shows all."""
        connection = self._pool.connection(server)
        if connection is None:
            return
        offer = connection.offer
        self._offers[server] = offer if prompts is None else replace(offer, prompts=tuple(prompts))
        if connection.news is None:
            connection.news = lambda method, params: self._hear(server, params)
            connection.askers.standing = self._standing(server) if self._standing else None
            for uri in self._wanted.get(server, ()):
                self._start(self._subscribe, connection, uri)

    def follow(self, servers: Iterable[ServerConfig]) -> None:
        """The config has changed."""
        self._lanes.follow(servers)

    def keep(self, servers: Iterable[str]) -> None:
        """Forget servers that are not among these, and take their order."""
        self._offers = {name: self._offers[name] for name in servers if name in self._offers}

    async def call(
        self,
        call: ToolCall,
        caller: Caller | None = None,
        progress: Progress | None = None,
        forwarded: Forwarded | None = None,
    ) -> ToolResult:
        """Call a tool for `caller`, who is asked what the server asks; as `Connection.call`.

        Raises:
            DownstreamError: as `Connection.call`.
        """
        async with self._lanes.take(call.server, caller) as connection:
            return await connection.call(
                call.tool, call.arguments, progress=progress, caller=caller, forwarded=forwarded
            )

    async def request(
        self,
        server: str,
        method: str,
        params: Mapping[str, JSON],
        *,
        caller: Caller | None = None,
        progress: Progress | None = None,
        straight: bool = False,
    ) -> Mapping[str, JSON]:
        """Send any other request for `caller`; the result stays untouched.

        Raises:
            DownstreamError: as `Connection.request`.
        """
        async with self._lanes.take(server, caller) as connection:
            return await connection.request(method, params, caller=caller, progress=progress, straight=straight)

    async def subscribe(self, server: str, uri: str) -> None:
        """Hear of changes of a resource, until `unsubscribe` was called as often.

        Raises:
            DownstreamError: the server refuses.
        """
        counts = self._wanted.setdefault(server, Counter())
        counts[uri] += 1
        connection = self._pool.connection(server)
        if counts[uri] > 1 or connection is None:
            return
        try:
            await connection.subscribe(uri)
        except DownstreamError:
            await self.unsubscribe(server, uri)
            raise

    async def unsubscribe(self, server: str, uri: str) -> None:
        """One subscriber less; the last one tells the server."""
        counts = self._wanted.get(server, Counter())
        counts[uri] -= 1
        if counts[uri] > 0:
            return
        del counts[uri]
        connection = self._pool.connection(server)
        if connection is not None and uri in connection.subscribed:
            self._start(self._unsubscribe, connection, uri)

    def stand_in(self, standing: Standing | None) -> None:
        """From now on `standing` answers what servers ask on shared connections while no request runs."""
        self._standing = standing
        for connection in self._shared():
            connection.askers.standing = standing(connection.config.name) if standing else None

    def say_roots_changed(self, user: Hashable, shared: bool) -> None:
        """Tell the servers on a user's connections that its folders are others now; `shared` ones when it is alone."""
        for connection in (*self._lanes.of(user), *(self._shared() if shared else ())):
            self._start(connection.say_roots_changed)

    async def close_of(self, user: Hashable) -> None:
        """A user is gone: close the connections that were its own."""
        await self._lanes.close_of(user)

    def _shared(self) -> tuple[Connection, ...]:
        found = (self._pool.connection(state.name) for state in self._pool.states())
        return tuple(connection for connection in found if connection is not None)

    def _start(self, work: Callable[..., object], *arguments: object) -> None:
        if self._group is not None:
            self._group.start_soon(work, *arguments)  # type: ignore[arg-type]

    def _hear(self, server: str, params: Mapping[str, JSON]) -> None:
        for tell in self.updated:
            tell(server, str(params.get("uri")))

    async def _subscribe(self, connection: Connection, uri: str) -> None:
        try:
            await connection.subscribe(uri)
        except DownstreamError as error:
            logger.warning("%s: cannot follow %s any more: %s", connection.config.name, uri, error.message)

    async def _unsubscribe(self, connection: Connection, uri: str) -> None:
        try:
            await connection.unsubscribe(uri)
        except DownstreamError as error:
            logger.debug("%s: %s", connection.config.name, error.message)
