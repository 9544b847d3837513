"""One server kept connected: started, watched, pinged, started again when it ends, given up on for a while.

Owns the life of one server's connections and who may use them. Refuses to own: the other servers (`pool`), the
protocol (`connection`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.abc

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.breaker import FAILURES_TO_OPEN, Breaker, Circuit, jittered
from mcp_dualtune.downstream.connection import MODERN, TIMEOUT_GRACE, Connection
from mcp_dualtune.errors import DownstreamError, ServerTimeout, ServerUnavailable

Status = Literal["starting", "ready", "waiting", "closed"]
"""`waiting`: it ended or could not start, and is started again after a pause."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a server is started again; doubles with every failure in a row."""
STEADY_SECONDS = 30.0
"""A server that stayed up this long has recovered: its next pause is the first one again."""
RETURN_SECONDS = 5.0
"""How long a call waits for a server that is just coming back."""
PING_EVERY = 60.0
"""Seconds between pings of an idle server; one that speaks the stateless protocol is asked after timeouts only."""
PING_SECONDS = 20.0
HANDOVER_SECONDS = 10.0
"""How long a changed server's new run waits for the old one to end, so that two of them seldom work side by side."""

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
    circuit: Circuit = "closed"
    """Whether calls are let through; `open` refuses them at once."""
    retry_seconds: float | None = None
    """Until it is started again, or until its circuit lets a call through."""
    handshake_ms: float | None = None
    """From the latest start to a complete tool list."""


class Keeper:
    """Keeps one server connected until told to stop; `keep` runs in a task of its own."""

    def __init__(self, config: ServerConfig, on_change: Callable[[str], None]) -> None:
        self.config, self.on_change = config, on_change
        self.connection: Connection | None = None
        """The connection while it is ready."""
        self.status: Status = "starting"
        self.error: DownstreamError | None = None
        self.settled, self.closed = anyio.Event(), anyio.Event()
        self._stopping, self._wake = anyio.Event(), anyio.Event()
        self._usable, self._idle, self._doubt = anyio.Event(), anyio.Event(), anyio.Event()
        self._current: Connection | None = None
        self._breaker = Breaker()
        self._starts, self._failed_starts, self._been_ready = 0, 0, False
        self._next_start: float | None = None
        self._handshake_ms: float | None = None
        self._running = self._begun = 0

    def state(self) -> ServerState:
        """How the server is now."""
        current, ready, retry_at = self._current, self.connection, self._retry_at()
        return ServerState(
            name=self.config.name,
            status=self.status,
            transport=self.config.transport,
            tools=len(ready.tools) if ready else 0,
            restarts=max(self._starts - 1, 0),
            pid=current.pid if current else None,
            protocol=ready.protocol if ready else None,
            error=self.error,
            circuit=self._circuit(),
            retry_seconds=None if retry_at is None else max(retry_at - anyio.current_time(), 0.0),
            handshake_ms=self._handshake_ms,
        )

    def adopt(self, config: ServerConfig) -> None:
        """Take over options that need no new connection."""
        self.config = config
        if self._current is not None:
            self._current.config = config

    def stop(self) -> None:
        """End the connection, if any, and `keep`."""
        self._stopping.set()
        self._wake.set()
        if self._current is not None:
            self._current.stop()

    async def retire(self) -> None:
        """Let the running calls end, as long as their own limit allows, and stop."""
        with anyio.move_on_after(self.config.options.call_timeout + TIMEOUT_GRACE):
            await self._until_idle()
        self.stop()

    async def keep(self, after: Keeper | None = None) -> None:
        """Connect, watch, pause, connect again; `after` is the run of an earlier config that has to end first."""
        if after is not None:
            with anyio.move_on_after(HANDOVER_SECONDS):
                await after.closed.wait()
        pause = FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                up_for = await self._run_once()
                if self._stopping.is_set():
                    break
                pause = FIRST_PAUSE if up_for >= STEADY_SECONDS else pause
                wait = jittered(pause)
                self.status, self._next_start = "waiting", anyio.current_time() + wait
                self.settled.set()
                self.on_change(self.config.name)
                with anyio.move_on_after(wait):
                    await self._wake.wait()
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self.status, self.connection = "closed", None
            self.settled.set()
            self._usable.set()
            self.closed.set()

    async def _run_once(self) -> float:
        """One connection from start to end; the seconds it was ready."""
        self.status, self._next_start = "starting", None
        self._starts += 1
        connection = self._current = Connection(self.config, lambda: self.on_change(self.config.name))
        started = anyio.current_time()
        since: float | None = None

        async def use(group: anyio.abc.TaskGroup) -> None:
            nonlocal since
            await connection.ready.wait()
            since = anyio.current_time()
            self._handshake_ms = (since - started) * 1000
            self.connection, self.error, self.status = connection, None, "ready"
            self._been_ready, self._failed_starts = True, 0
            self.settled.set()
            self._usable.set()
            self.on_change(self.config.name)
            group.start_soon(self._watch, connection)
            await connection.lost.wait()
            # Calls wait for the next connection from here on; ending this one can take its server seconds.
            self._take_back()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(use, group)
                try:
                    await connection.run()
                except DownstreamError as error:
                    self.error = error
                    self._failed_starts += since is None
                    logger.info("%s", error)
                group.cancel_scope.cancel()
        finally:
            self._current = None
            self._take_back()
        return anyio.current_time() - since if since is not None else 0.0

    def _take_back(self) -> None:
        self.connection, self.status = None, "waiting"
        if self._usable.is_set():
            self._usable = anyio.Event()

    async def _watch(self, connection: Connection) -> None:
        """Ask an idle server for signs of life; one that has fallen silent is started again.

        A server may be deaf while it works on a call, so silence counts only when no call was made meanwhile. One that
        has never answered may know no ping: its silence counts only when its calls keep failing too.
        """
        answers = False
        every = None if connection.protocol == MODERN else PING_EVERY
        while True:
            with anyio.move_on_after(every):
                await self._doubt.wait()
            self._doubt = anyio.Event()
            await self._until_idle()
            begun = self._begun
            if await connection.ping(PING_SECONDS):
                answers = True
            elif self._begun == begun and (answers or self._breaker.circuit != "closed"):
                reason = f'"{self.config.name}" gave no sign of life for {PING_SECONDS:g} s.'
                connection.give_up(ServerTimeout(reason, hint="It is started again."))

    async def _until_idle(self) -> None:
        while self._running:
            await self._idle.wait()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around one request on the connection that `connected` gave: how it ends decides over the circuit.

        Raises:
            ServerUnavailable: requests have failed so often that none is made for a while.
        """
        admission = self._breaker.admit(anyio.current_time())
        if admission == "refused":
            raise self._refusal()
        began = anyio.current_time()
        self._running += 1
        self._begun += 1
        try:
            yield
        except (ServerTimeout, ServerUnavailable) as error:
            self._breaker.failed(began, anyio.current_time())
            if self._breaker.circuit != "closed":
                self.error = error
            if isinstance(error, ServerTimeout):
                self._doubt.set()
            raise
        except Exception:
            # Whatever it says, it is an answer.
            self._answered()
            raise
        else:
            self._answered()
        finally:
            if admission == "probe":
                self._breaker.probed()
            self._running -= 1
            if not self._running:
                self._idle.set()
                self._idle = anyio.Event()

    def _answered(self) -> None:
        self._breaker.succeeded()
        if self.connection is not None:
            self.error = None

    async def connected(self) -> Connection:
        """The open connection; waits for one that is just starting or coming back.

        Raises:
            ServerUnavailable: there is none and none is coming soon.
        """
        with anyio.move_on_after(self.config.options.start_timeout):
            await self.settled.wait()
        # One that was never ready gives no reason to hope; one that was is likely to be back soon.
        with anyio.move_on_after(RETURN_SECONDS):
            while not ((connection := self.connection) and connection.usable) and self._is_coming_back():
                # What is no longer usable is about to be taken back.
                await (connection.lost if connection else self._usable).wait()
        if self.connection is None:
            raise self._refusal()
        return self.connection

    def _is_coming_back(self) -> bool:
        if self._stopping.is_set() or not self._been_ready or self._failed_starts >= FAILURES_TO_OPEN:
            return False
        return self._next_start is None or self._next_start - anyio.current_time() < RETURN_SECONDS

    def _circuit(self) -> Circuit:
        if self._failed_starts >= FAILURES_TO_OPEN:
            return "half-open" if self.status == "starting" else "open"
        return self._breaker.circuit

    def _retry_at(self) -> float | None:
        return self._next_start if self._next_start is not None else self._breaker.retry_at

    def _refusal(self) -> ServerUnavailable:
        """Why no call can be made now, and when the next try is."""
        name, error, retry_at = self.config.name, self.error, self._retry_at()
        if self.connection is not None:
            about = f'Calls to "{name}" are not tried for a while: {self._breaker.failures} failed in a row.'
        else:
            about = f'"{name}" is not available.'
        when = ""
        if self._circuit() == "half-open":
            when = "It is being tried again just now."
        elif retry_at is not None:
            when = f"It is tried again in {max(retry_at - anyio.current_time(), 0.1):.1f} s."
        reason = error.message if error else ""
        hint = (error.hint if error else "") or "Try again in a moment."
        return ServerUnavailable(" ".join(filter(None, (about, when, reason))), hint=hint)
