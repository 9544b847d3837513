"""All servers together: started at once, watched, and started again when they end.

Owns the life of every connection. Refuses to own: what the tools mean, and the catalog that is made of them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import anyio
import anyio.abc

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.connection import Connection, Progress
from mcp_dualtune.errors import DownstreamError, ServerUnavailable
from mcp_dualtune.types import JSON, ToolResult

Status = Literal["starting", "ready", "waiting", "closed"]
"""`waiting`: it ended or could not start, and is started again after a pause."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a server is started again; doubles with every failure in a row."""
STEADY_SECONDS = 30.0
"""A server that stayed up this long has recovered: its next pause is the first one again."""
RETURN_SECONDS = 5.0
"""How long a call waits for a server that is just coming back."""
CLOSE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerState:
    """How one server is at this moment."""

    name: str
    status: Status
    transport: str
    tools: int
    restarts: int
    pid: int | None = None
    protocol: str | None = None
    error: DownstreamError | None = None
    """What went wrong last; None once it is ready again."""


class Pool:
    """Every configured server. Enter it to start all, exit it to end all; both in the same task.

    Entering does not wait for any server: see `wait`. `on_change` is called with a server's name whenever its tools
    may have changed, or it became ready or unavailable; it must not block.
    """

    def __init__(self, servers: Sequence[ServerConfig], on_change: Callable[[str], None] | None = None) -> None:
        self._keepers = {config.name: _Keeper(config, on_change or (lambda name: None)) for config in servers}
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
        for keeper in self._keepers.values():
            keeper.stop()
        with anyio.move_on_after(CLOSE_SECONDS):
            for keeper in self._keepers.values():
                await keeper.closed.wait()

    async def wait(self, timeout: float, names: Iterable[str] | None = None) -> None:
        """Wait until each server (of `names`) is ready or has failed once, at most `timeout` seconds."""
        chosen = list(self._keepers if names is None else names)
        with anyio.move_on_after(timeout):
            for name in chosen:
                await self._keeper(name).settled.wait()

    def states(self) -> tuple[ServerState, ...]:
        """How every server is, in the order of the config."""
        return tuple(keeper.state() for keeper in self._keepers.values())

    def tools(self, name: str) -> tuple[Mapping[str, JSON], ...]:
        """The tools of a server in wire spelling; none while it is not ready.

        Raises:
            ServerUnavailable: no server of this name is configured.
        """
        connection = self._keeper(name).connection
        return connection.tools if connection is not None else ()

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
            ServerUnavailable: unknown, down, or lost during the call, which is never repeated here.
            ServerTimeout: no answer in time.
            ProtocolError: a JSON-RPC error, or what is not a tool result.
        """
        keeper = self._keeper(server)
        connection = await keeper.connected()
        return await connection.call(tool, arguments, timeout=timeout, progress=progress, meta=meta)

    def _keeper(self, name: str) -> _Keeper:
        if name not in self._keepers:
            hint = f"Configured: {', '.join(self._keepers) or 'none'}."
            raise ServerUnavailable(f'No server "{name}" is configured.', hint=hint, retryable=False)
        return self._keepers[name]


class _Keeper:
    """Keeps one server connected until told to stop."""

    def __init__(self, config: ServerConfig, on_change: Callable[[str], None]) -> None:
        self.config, self.on_change = config, on_change
        self.connection: Connection | None = None
        """The connection while it is ready."""
        self.status: Status = "starting"
        self.error: DownstreamError | None = None
        self.starts, self.been_ready = 0, False
        self.settled, self.closed, self.stopping = anyio.Event(), anyio.Event(), anyio.Event()
        self.usable = anyio.Event()
        self.wake = anyio.Event()
        self.current: Connection | None = None

    def state(self) -> ServerState:
        current, ready = self.current, self.connection
        return ServerState(
            name=self.config.name,
            status=self.status,
            transport=self.config.transport,
            tools=len(ready.tools) if ready else 0,
            restarts=max(self.starts - 1, 0),
            pid=current.pid if current else None,
            protocol=ready.protocol if ready else None,
            error=self.error,
        )

    def stop(self) -> None:
        self.stopping.set()
        self.wake.set()
        if self.current is not None:
            self.current.stop()

    async def keep(self) -> None:
        """Connect, watch, pause, connect again."""
        pause = FIRST_PAUSE
        try:
            while not self.stopping.is_set():
                up_for = await self._run_once()
                if self.stopping.is_set():
                    break
                pause = FIRST_PAUSE if up_for >= STEADY_SECONDS else pause
                self.status = "waiting"
                self.on_change(self.config.name)
                # Jitter keeps servers that fell together from coming back together.
                with anyio.move_on_after(pause * random.uniform(0.75, 1.25)):
                    await self.wake.wait()
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self.status, self.connection = "closed", None
            self.settled.set()
            self.usable.set()
            self.closed.set()

    async def _run_once(self) -> float:
        """One connection from start to end; the seconds it was ready."""
        self.status, self.wake = "starting", self.wake if self.stopping.is_set() else anyio.Event()
        self.starts += 1
        connection = self.current = Connection(self.config, lambda: self.on_change(self.config.name))
        since: float | None = None

        async def announce() -> None:
            nonlocal since
            await connection.ready.wait()
            since = anyio.current_time()
            self.connection, self.error, self.status = connection, None, "ready"
            self.been_ready = True
            self.settled.set()
            self.usable.set()
            self.on_change(self.config.name)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(announce)
                try:
                    await connection.run()
                except DownstreamError as error:
                    self.error = error
                    logger.info("%s", error)
                group.cancel_scope.cancel()
        finally:
            self.connection = self.current = None
            if self.usable.is_set():
                self.usable = anyio.Event()
            self.settled.set()
        return anyio.current_time() - since if since is not None else 0.0

    async def connected(self) -> Connection:
        """The open connection; waits for one that is just starting or coming back.

        Raises:
            ServerUnavailable: there is none and none is coming soon.
        """
        with anyio.move_on_after(self.config.options.start_timeout):
            await self.settled.wait()
        # One that was never ready gives no reason to hope; one that was is likely to be back soon.
        with anyio.move_on_after(RETURN_SECONDS if self.been_ready else 0):
            while self.connection is None and not self.stopping.is_set():
                await self.usable.wait()
        if self.connection is None:
            name = self.config.name
            reason = f" {self.error.message}" if self.error else ""
            hint = self.error.hint if self.error else "Try again in a moment."
            raise ServerUnavailable(f'"{name}" is not available.{reason}', hint=hint)
        return self.connection
