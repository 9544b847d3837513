"""All servers together: started at once, watched, started again when they end, and exchanged while running.

Owns who is kept. Refuses to own: one server's life (`keeper`), what the tools mean, and the catalog made of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

import anyio
import anyio.abc

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.config.changes import needs_restart
from mcp_dualtune.downstream.connection import Connection, Progress
from mcp_dualtune.downstream.keeper import Keeper, ServerState
from mcp_dualtune.errors import ServerUnavailable
from mcp_dualtune.types import JSON, ToolResult

__all__ = ["Pool", "ServerState"]

CLOSE_SECONDS = 10.0


class Pool:
    """Every configured server. Enter it to start all, exit it to end all; both in the same task.

    Entering does not wait for any server: see `wait`. `on_change` is called with a server's name whenever its tools
    may have changed, or it became ready or unavailable; it must not block.
    """

    def __init__(self, servers: Sequence[ServerConfig], on_change: Callable[[str], None] | None = None) -> None:
        self._on_change = on_change or (lambda name: None)
        self._keepers = {config.name: Keeper(config, self._on_change) for config in servers}
        self._dismissed: set[Keeper] = set()
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Pool:
        self._group = await anyio.create_task_group().__aenter__()
        for keeper in self._keepers.values():
            self._group.start_soon(keeper.keep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        group, self._group = self._group, None
        assert group is not None
        try:
            with anyio.CancelScope(shield=True):
                await self.close()
        finally:
            group.cancel_scope.cancel()
        return await group.__aexit__(kind, error, trace)

    async def close(self) -> None:
        """End every server, all at the same time; returns within `CLOSE_SECONDS` plus the kernel's time to kill."""
        keepers = [*self._keepers.values(), *self._dismissed]
        for keeper in keepers:
            keeper.stop()
        with anyio.move_on_after(CLOSE_SECONDS):
            for keeper in keepers:
                await keeper.closed.wait()

    def update(self, servers: Sequence[ServerConfig]) -> None:
        """Keep these servers from now on; returns at once, and only what changed is started again.

        A server that is gone or changed first ends its running calls; new calls go to the changed one.
        """
        assert self._group is not None
        keepers: dict[str, Keeper] = {}
        for config in servers:
            before = self._keepers.pop(config.name, None)
            if before is not None and not needs_restart(before.config, config):
                before.adopt(config)
                keepers[config.name] = before
                continue
            keeper = keepers[config.name] = Keeper(config, self._on_change)
            self._group.start_soon(keeper.keep, before)
            if before is not None:
                self._dismiss(before)
        for gone in self._keepers.values():
            self._dismiss(gone)
        self._keepers = keepers

    async def wait(self, timeout: float, names: Iterable[str] | None = None) -> None:
        """Wait until each server (of `names`) is ready or has failed once, at most `timeout` seconds."""
        chosen = [self._keeper(name) for name in (self._keepers if names is None else names)]
        with anyio.move_on_after(timeout):
            for keeper in chosen:
                await keeper.settled.wait()

    def states(self) -> tuple[ServerState, ...]:
        """How every server is, in the order of the config."""
        return tuple(keeper.state() for keeper in self._keepers.values())

    def state(self, name: str) -> ServerState:
        """How one server is.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        return self._keeper(name).state()

    def tools(self, name: str) -> tuple[Mapping[str, JSON], ...]:
        """The tools of a server in wire spelling; none while it is not ready.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        connection = self._keeper(name).connection
        return connection.tools if connection is not None else ()

    def prompts(self, name: str) -> tuple[Mapping[str, JSON], ...]:
        """The prompts of a server in wire spelling; none while it is not ready.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        connection = self._keeper(name).connection
        return connection.offer.prompts if connection is not None else ()

    def instructions(self, name: str) -> str | None:
        """What the server says about its use, once it is ready.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        connection = self._keeper(name).connection
        return connection.instructions if connection is not None else None

    async def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, JSON],
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
        meta: Mapping[str, JSON] | None = None,
    ) -> ToolResult:
        """Call a tool of a server, as `Connection.call`; a server that is starting is waited for.

        Raises:
            ServerUnavailable: unknown, down, failing again and again, or lost during the call, which is never repeated.
            ServerTimeout: no answer in time.
            ProtocolError: a JSON-RPC error, or what is not a tool result.
        """
        async with self.lend(server) as connection:
            return await connection.call(tool, arguments, timeout=timeout, progress=progress, meta=meta)

    @asynccontextmanager
    async def lend(self, server: str) -> AsyncIterator[Connection]:
        """The open connection to a server, for one request; how that ends counts for the server's circuit.

        Raises:
            ServerUnavailable: unknown, down, or failing again and again.
        """
        keeper = self._keeper(server)
        patient_until = anyio.current_time() + keeper.config.options.start_timeout
        while True:
            try:
                connection = await keeper.connected()
                break
            except ServerUnavailable:
                # Where the config changed while this waited, another keeper has the name now.
                before, keeper = keeper, self._keeper(server)
                if keeper is before or anyio.current_time() > patient_until:
                    raise
        with keeper.counted():
            yield connection

    def connection(self, name: str) -> Connection | None:
        """The open connection of a server, if it has one right now.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        return self._keeper(name).connection

    def _dismiss(self, keeper: Keeper) -> None:
        assert self._group is not None
        keeper.on_change = lambda name: None
        self._dismissed.add(keeper)
        self._group.start_soon(self._see_off, keeper)

    async def _see_off(self, keeper: Keeper) -> None:
        await keeper.retire()
        await keeper.closed.wait()
        self._dismissed.discard(keeper)

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            hint = f"Configured: {', '.join(self._keepers) or 'none'}."
            raise ServerUnavailable(f'No server "{name}" is configured.', hint=hint, retryable=False)
        return self._keepers[name]
