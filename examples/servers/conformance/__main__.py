"""Run the conformance server: `python -m examples.servers.conformance` (stdio), or `--transport http --port 8000`."""

from __future__ import annotations

import argparse
import sys
import warnings

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning

from examples.servers.conformance.events import RecentEvents
from examples.servers.conformance.server import ConformanceServer, make_server

RETRY_MILLISECONDS = 500
"""When a client whose stream was closed should come back."""


async def serve_stdio(server: ConformanceServer) -> None:
    """Serve one client over standard input and output."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: ConformanceServer, port: int) -> None:
    """Serve over Streamable HTTP on this machine only, and say where on standard error."""
    application = server.streamable_http_app(event_store=RecentEvents(), retry_interval=RETRY_MILLISECONDS)
    web = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error"))
    listener = web.config.bind_socket()
    sys.stderr.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp\n")
    sys.stderr.flush()
    await web.serve([listener])


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=["stdio", "http"], default="stdio")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    # This server is made to show the older features too.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = make_server()
    if options.transport == "stdio":
        anyio.run(serve_stdio, server)
    else:
        anyio.run(serve_http, server, options.port)


if __name__ == "__main__":
    main()
