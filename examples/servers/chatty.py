"""A server that gives away its whole environment wherever it can: in errors, on standard error and as its last words.

Run it as `python chatty.py [--die]`: with `--die` it never gets ready.
"""

from __future__ import annotations

import os
import sys

from mcp import MCPError
from mcp.server import MCPServer


def make_server() -> MCPServer:
    """The server with its one tool, `reveal`, which fails."""
    server = MCPServer("chatty", log_level="CRITICAL")

    @server.tool()
    def reveal() -> str:
        """Fail, and say everything while doing so."""
        sys.stderr.write(f"{dict(os.environ)}\n")
        raise MCPError(-32077, f"failed under {dict(os.environ)}", {"environment": dict(os.environ)})

    return server


if __name__ == "__main__":
    if "--die" in sys.argv:
        sys.exit("\n".join(f"{name}={value}" for name, value in os.environ.items()))
    make_server().run("stdio")
