"""The example servers as config entries, and a connection that a test can use."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from mcp_dualtune.config import ServerConfig, ServerOptions
from mcp_dualtune.downstream.connection import Connection

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
