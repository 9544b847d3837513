"""The example servers as config entries, and a connection that a test can use."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from mcp_dualtune.config import ServerConfig, ServerOptions
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.pool import Pool, ServerState

SERVERS = Path(__file__).parents[2] / "examples" / "servers"


def unruly(
    *arguments: str, name: str = "unruly", mode: str = "legacy", start: float = 60, call: float = 60
) -> ServerConfig:
    """The misbehaving example server in one of its modes."""
    options = ServerOptions(mode=mode, start_timeout=start, call_timeout=call)  # type: ignore[arg-type]
    args = (str(SERVERS / "unruly.py"), *arguments)
    return ServerConfig(name, "stdio", command=sys.executable, args=args, options=options)


def notes(folder: Path, *, mode: str = "legacy") -> ServerConfig:
    """The well-behaved example server over a folder."""
    options = ServerOptions(mode=mode, start_timeout=60)  # type: ignore[arg-type]
    return ServerConfig(
        "notes", "stdio", command=sys.executable, args=(str(SERVERS / "notes.py"), str(folder)), options=options
    )


@asynccontextmanager
async def connected(config: ServerConfig) -> AsyncIterator[Connection]:
    """A connection that is ready, run by an owner task, and stopped in the end."""
    changed: list[int] = []
    connection = Connection(config, lambda: changed.append(len(connection.tools)))
    async with anyio.create_task_group() as group:
        group.start_soon(connection.run)
        with anyio.fail_after(90):
            await connection.ready.wait()
            yield connection
        connection.stop()


def chaotic(folder: Path, name: str = "chaotic", *, env: str = "", call: float = 60) -> ServerConfig:
    """The server whose calls say how they go wrong; another `env` makes it another server to the pool."""
    args = ("-I", "-S", str(SERVERS / "chaotic.py"), str(folder))
    options = ServerOptions(start_timeout=60, call_timeout=call)
    return ServerConfig(name, "stdio", command=sys.executable, args=args, env={"CHAOS": env}, options=options)


async def begun(folder: Path, text: str) -> None:
    """Wait until a call with this text runs in a chaotic server."""
    ledger = folder / "ledger"
    with anyio.fail_after(60):
        while not (ledger.exists() and text in ledger.read_text(encoding="utf-8")):  # noqa: ASYNC110 - another process
            await anyio.sleep(0.01)


class Watcher:
    """Collects change notices and lets a test wait for a state that they announce."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.changed = anyio.Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self.changed.set()

    async def until(self, pool: Pool, name: str, wanted: Callable[[ServerState], bool]) -> ServerState:
        with anyio.fail_after(90):
            while True:
                self.changed = anyio.Event()
                state = pool.state(name)
                if wanted(state):
                    return state
                await self.changed.wait()
