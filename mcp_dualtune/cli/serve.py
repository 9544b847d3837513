"""`dualtune serve`: be an MCP server for a client."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`; the config gives what is left out."""
    parser.add_argument(
        "--transport", choices=["stdio", "http", "sse"], default="stdio", help="how clients connect (default: stdio)"
    )
    parser.add_argument(
        "--no-reload", action="store_true", help="do not take over changes of the config file while running"
    )
    parser.add_argument("--host", help="address to listen on for http and sse (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on for http and sse; 0 takes a free one")


def run(args: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes.

    Raises:
        ConfigError: the config, the host or the port cannot be used.
    """
    from mcp_dualtune.config import load_config

    config = load_config(args.config)

    import anyio

    from mcp_dualtune.gateway import Gateway
    from mcp_dualtune.mcp_server.run import serve_stdio, serve_web

    gateway = Gateway(config, follow=not args.no_reload)
    if args.transport == "stdio":
        anyio.run(serve_stdio, gateway)
        return 0
    changes = {name: value for name in ("host", "port") if (value := getattr(args, name)) is not None}
    anyio.run(serve_web, gateway, args.transport, replace(config.settings.http, **changes), _announce)
    return 0


def _announce(address: str) -> None:
    print(f"dualtune: listening on {address}", file=sys.stderr, flush=True)
