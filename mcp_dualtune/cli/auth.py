"""`dualtune auth`: log in at remote servers, see how the logins stand, and log out."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_dualtune.config import ServerConfig
    from mcp_dualtune.downstream.login import LoginState

ACTIONS = ("login", "status", "logout")
LOGIN_SECONDS = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, at which server."""
    parser.add_argument("action", choices=ACTIONS, help="log in, say how the logins stand, or log out")
    parser.add_argument("server", nargs="?", metavar="SERVER", help="name of a remote server in the config")
    parser.add_argument("--no-browser", action="store_true", help="print the address of the login page, open nothing")
    parser.add_argument("--scope", metavar="SCOPES", help="what to ask for, instead of what the server names")
    parser.add_argument(
        "--timeout",
        type=float,
        default=LOGIN_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the login (default: {LOGIN_SECONDS:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Do it and say what came of it; `status` ends with 1 when the named server has no login that works.

    Raises:
        ConfigError: the config is wrong, or has no such remote server.
        DownstreamError: the login failed.
    """
    import anyio

    from mcp_dualtune.cli import exits
    from mcp_dualtune.config import load_config
    from mcp_dualtune.errors import RequestError

    servers = _chosen(load_config(args.config).servers, args.server)
    if args.action == "status":
        return _status(args, servers)
    if args.server is None:
        known = ", ".join(server.name for server in servers) or "none"
        raise RequestError(f"Say where to {args.action[:3]} {args.action[3:]}.", hint=f"Remote servers: {known}.")
    (server,) = servers
    if args.action == "login":
        return _login(args, server)
    from mcp_dualtune.downstream.login import log_out

    there = anyio.run(log_out, server)
    if args.json:
        exits.print_json({"server": server.name, "logged_out": there})
    else:
        print(f"Logged out of {server.name}." if there else f"There was no login at {server.name}.")
    return exits.DONE


def _chosen(servers: tuple[ServerConfig, ...], name: str | None) -> tuple[ServerConfig, ...]:
    from mcp_dualtune.errors import ConfigError

    remote = tuple(server for server in servers if server.transport != "stdio")
    found = tuple(server for server in remote if name in (None, server.name))
    if name is not None and not found:
        known = ", ".join(server.name for server in remote) or "none"
        raise ConfigError(f'There is no remote server "{name}" in the config.', hint=f"Remote servers: {known}.")
    return found


def _login(args: argparse.Namespace, server: ServerConfig) -> int:
    from functools import partial

    import anyio
    import anyio.to_thread

    from mcp_dualtune.cli import exits
    from mcp_dualtune.downstream.login import log_in

    async def show(address: str) -> None:
        # On standard error, so that the answer of --json stays alone on standard output.
        print(f"Log in at {server.name} with a browser on this machine:\n\n  {address}\n", file=sys.stderr, flush=True)
        if not args.no_browser:
            await anyio.to_thread.run_sync(webbrowser.open, address, abandon_on_cancel=True)

    state = anyio.run(partial(log_in, server, show, scope=args.scope, timeout=args.timeout))
    if args.json:
        exits.print_json(_as_json(state))
    elif state.standing == "not logged in":
        print(f"{server.name} asks for no login.")
    else:
        print(f"Logged in at {server.name}; kept in {state.place}.")
    return exits.DONE


def _status(args: argparse.Namespace, servers: tuple[ServerConfig, ...]) -> int:
    from time import localtime, strftime

    import anyio

    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.downstream.login import login_state

    async def look() -> list[LoginState]:
        return [await login_state(server) for server in servers]

    states = anyio.run(look)
    if args.json:
        exits.print_json({"logins": [_as_json(state) for state in states]})
    else:
        rows = []
        for state in states:
            until = strftime("%Y-%m-%d %H:%M", localtime(state.expires_at)) if state.expires_at else ""
            rows.append((state.server, state.standing, until, state.scope or "", state.issuer or ""))
        Screen().table(("server", "login", "token until", "scope", "issuer"), rows)
    good = all(state.standing in ("logged in", "renews itself") for state in states)
    return exits.DONE if good or args.server is None else exits.FAILED


def _as_json(state: LoginState) -> dict[str, Any]:
    return {"logged_in": state.standing in ("logged in", "renews itself"), **vars(state)}
