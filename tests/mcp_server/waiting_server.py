"""A real server whose one tool waits until it is cancelled, and writes down what happened to it."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
from mcp.server import MCPServer

record = Path(sys.argv[1])


def note(state: str) -> None:
    """Write down what has happened last."""
    record.write_text(state, encoding="utf-8")


server = MCPServer("waiting", log_level="CRITICAL")


@server.tool()
async def wait() -> str:
    """Wait for a long time."""
    note("started")
    try:
        await anyio.sleep(600)
    except anyio.get_cancelled_exc_class():
        note("cancelled")
        raise
    return "done"


if __name__ == "__main__":
    server.run("stdio")
