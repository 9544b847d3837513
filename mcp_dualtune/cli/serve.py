"""`dualtune serve`: be an MCP server for a client."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_dualtune.config import Config, HttpSettings


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
    parser.add_argument(
        "--no-token",
        action="store_true",
        help="let every program on this machine connect over http or sse, without the bearer token",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal comes.

    Raises:
        ConfigError: the config, the host, the port or the token cannot be used.
    """
    from mcp_dualtune.config import load_config

    config = load_config(args.config)

    import anyio

    from mcp_dualtune.cli.write_requests import write_requests
    from mcp_dualtune.gateway import Gateway
    from mcp_dualtune.mcp_server.run import serve_stdio, serve_web

    gateway = Gateway(config, follow=not args.no_reload)
    further = write_requests(gateway)
    if args.transport == "stdio":
        anyio.run(serve_stdio, gateway, further)
        return 0
    http, key = _door(config, args)

    def announce(address: str) -> None:
        print(f"dualtune: listening on {address}", file=sys.stderr)
        print(f"dualtune: {key}", file=sys.stderr, flush=True)

    # uvloop does not exist for Windows.
    options = {"use_uvloop": sys.platform != "win32"}
    anyio.run(serve_web, gateway, args.transport, http, announce, further, backend_options=options)
    return 0


def _door(config: Config, args: argparse.Namespace) -> tuple[HttpSettings, str]:
    """How to listen, and what to tell about the token: itself to a person only, as other output is often kept."""
    from mcp_dualtune.mcp_server.token import stored_token, token_file

    changes = {name: value for name in ("host", "port") if (value := getattr(args, name)) is not None}
    http = replace(config.settings.http, **changes)
    if args.no_token:
        return replace(http, token=None), "no token: every program on this machine may connect"
    if http.token is not None:
        return http, f"clients send `Authorization: Bearer TOKEN`; the token is that of {http.token_env}"
    assert config.settings.state is not None
    token = stored_token(config.settings.state)
    where = token if sys.stderr.isatty() else f"TOKEN`; the token is in `{token_file(config.settings.state)}"
    return replace(http, token=token), f"clients send `Authorization: Bearer {where}`"
