"""Which connection carries a request, so that a server's question can only reach the user it belongs to.

A handshake server pushes its questions without saying which request they belong to. All users share the pool's
connection until a server asks for the first time; from then on no request meets another user's on its connection: where
it would, it takes a further one. A session that took one stays with it, a request without a session borrows one.
Servers of the stateless protocol ask in their answers, so one connection serves everybody.
Owns these further connections. Refuses to own the pool's, and what is asked.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType

import anyio
from anyio.abc import TaskGroup

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.config.changes import needs_restart
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.downstream.questions import Caller
from mcp_dualtune.errors import DownstreamError, ServerTimeout, ServerUnavailable

MOST = 16
"""Further connections to one server; beyond, the one that was idle longest is closed for the next."""
IDLE_SECONDS = 900.0
"""A further connection that nobody used for so long is closed."""
CLOSE_SECONDS = 10.0
PROBE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class _Lane:
    """One further connection and whose it is."""

    def __init__(self, owner: Hashable | None, connection: Connection) -> None:
        self.owner, self.connection = owner, connection
        self.running = 0
        self.outdated = False
        """Set when the config has changed since; it ends with its last request."""
        self.used = anyio.current_time()
        self.done = anyio.Event()
        self.failure: DownstreamError | None = None

    @property
    def usable(self) -> bool:
        return not self.outdated and not self.connection.ended.is_set()


class Lanes:
    """All further connections of a pool's servers; enter it inside the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lanes: dict[str, list[_Lane]] = {}
        self._asking: set[str] = set()
        """Servers that have asked."""
        self._freed = anyio.Event()
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Lanes:
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._close_idle)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        group, self._group = self._group, None
        assert group is not None
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._close(lambda lane: True)
        group.cancel_scope.cancel()
        return await group.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def take(self, server: str, caller: Caller | None) -> AsyncIterator[Connection]:
        """The connection for one request of `caller`; nobody else's question can come on it meanwhile.

        Raises:
            DownstreamError: the server is not there, or has no room for another connection.
        """
        async with self._pool.lend(server) as main:
            lane = None if caller is None or caller.lane == "shared" else await self._choose(main, caller)
            if caller is None or lane is None:
                try:
                    yield main
                finally:
                    if main.askers.asked:
                        self._asking.add(server)
                return
            try:
                await _ready(lane)
                lane.connection.askers.standing = caller.standing
                yield lane.connection
            except ServerTimeout:
                assert self._group is not None
                self._group.start_soon(self._probe, lane)
                raise
            finally:
                lane.running -= 1
                lane.used = anyio.current_time()
                left_behind = lane.connection.askers.present() - {lane.owner}
                # What a request left behind here may still ask, and nobody could say whom.
                if left_behind or (lane.outdated and not lane.running):
                    lane.connection.stop()
                self._freed.set()

    async def close_of(self, user: Hashable) -> None:
        """Close what belongs to a user who is gone."""
        await self._close(lambda lane: lane.owner is not None and lane.owner == user)

    def follow(self, servers: Iterable[ServerConfig]) -> None:
        """Open no request on connections whose server is gone or has changed; they end when they are idle."""
        current = {server.name: server for server in servers}
        for name, lanes in self._lanes.items():
            for lane in lanes:
                if name not in current or needs_restart(lane.connection.config, current[name]):
                    lane.outdated = True
                    if not lane.running:
                        lane.connection.stop()

    def of(self, user: Hashable) -> tuple[Connection, ...]:
        """The connections that belong to a user."""
        lanes = (lane for lanes in self._lanes.values() for lane in lanes)
        return tuple(lane.connection for lane in lanes if lane.usable and lane.owner == user)

    async def _choose(self, main: Connection, caller: Caller) -> _Lane | None:
        """A further connection for `caller`; None where the pool's will do."""
        name = main.config.name
        own = next((lane for lane in self._lanes.get(name, ()) if lane.usable and lane.owner == caller.user), None)
        if own is None and (main.modern or not main.askers.present() - {caller.user}):
            return None
        if own is None and name not in self._asking and not main.askers.asked:
            return None
        lane = own or await self._enter(main.config, caller.user if caller.lane == "own" else None)
        lane.running += 1
        return lane

    async def _enter(self, config: ServerConfig, owner: Hashable | None) -> _Lane:
        lanes = self._lanes.setdefault(config.name, [])
        with anyio.move_on_after(config.options.call_timeout):
            while True:
                lanes[:] = [lane for lane in lanes if lane.usable]
                free = next((lane for lane in lanes if lane.owner is None and not lane.running), None)
                if owner is None and free is not None:
                    return free
                if len(lanes) < MOST:
                    return self._open(config, owner, lanes)
                idle = min((lane for lane in lanes if not lane.running), key=lambda lane: lane.used, default=None)
                if idle is not None:
                    idle.connection.stop()
                    lanes.remove(idle)
                    continue
                self._freed = anyio.Event()
                await self._freed.wait()
        message = f'All {MOST} further connections to "{config.name}" are busy.'
        raise ServerTimeout(message, hint='Try again, or set "mode": "auto" for it if it speaks the newest protocol.')

    def _open(self, config: ServerConfig, owner: Hashable | None, lanes: list[_Lane]) -> _Lane:
        lane = _Lane(owner, Connection(config))
        lanes.append(lane)
        assert self._group is not None
        self._group.start_soon(self._run, lane)
        return lane

    async def _run(self, lane: _Lane) -> None:
        try:
            await lane.connection.run()
        except DownstreamError as error:
            lane.failure = error
            logger.info("%s", error)
        finally:
            lane.done.set()

    async def _probe(self, lane: _Lane) -> None:
        """A server that did not answer in time and gives no sign of life is ended; the next request starts another."""
        if not await lane.connection.ping(PROBE_SECONDS):
            lane.connection.stop()

    async def _close_idle(self) -> None:
        while True:
            await anyio.sleep(IDLE_SECONDS / 10)
            await self._close(lambda lane: not lane.running and lane.used < anyio.current_time() - IDLE_SECONDS)

    async def _close(self, chosen: Callable[[_Lane], bool]) -> None:
        ending = [lane for lanes in self._lanes.values() for lane in lanes if chosen(lane)]
        for lane in ending:
            lane.connection.stop()
        for lanes in self._lanes.values():
            lanes[:] = [lane for lane in lanes if lane not in ending]
        for lane in ending:
            await lane.done.wait()


async def _ready(lane: _Lane) -> None:
    async with anyio.create_task_group() as group:

        async def until_over() -> None:
            await lane.done.wait()
            group.cancel_scope.cancel()

        group.start_soon(until_over)
        await lane.connection.ready.wait()
        group.cancel_scope.cancel()
    if not lane.connection.ready.is_set() or not lane.usable:
        name = lane.connection.config.name
        raise lane.failure or ServerUnavailable(f'"{name}" did not start once more.', hint="Try again in a moment.")
