"""`dualtune tools`: what can be called; with --json in the catalog format that --catalog reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_dualtune.types import ToolSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tools`."""
    parser.add_argument("query", nargs="?", help="list only the tools that fit this best, best first")
    parser.add_argument("--server", action="append", metavar="NAME", help="only this server's tools (repeatable)")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="with a query: how many (default: 10)")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="list this catalog; no server is started")


def run(args: argparse.Namespace) -> int:
    """Print the tools."""
    import anyio

    from mcp_dualtune.cli import exits, session
    from mcp_dualtune.cli.show import Screen

    async def look() -> tuple[list[tuple[ToolSpec, float | None]], dict[str, str]]:
        async with session.open_gateway(args, model=False) as gateway:
            await gateway.wait_ready()
            catalog = gateway.catalog.restrict(args.server)
            about = {server.name: server.description for server in catalog.servers}
            if args.query is None:
                return [(tool, None) for tool in catalog.tools], about
            found = gateway.find_tools(args.query, args.limit)
            return [(tool, score) for tool, score in found if tool.server in about], about

    tools, about = anyio.run(look)
    if args.json:
        exits.print_json(_catalog(tools, about) if args.query is None else {"tools": [_found(*one) for one in tools]})
    else:
        rows = [(tool.server, tool.name, tool.description.strip().split("\n")[0]) for tool, _ in tools]
        Screen().table(("server", "tool", "what it does"), rows)
    return exits.DONE if tools else exits.NONE_FITS


def _catalog(tools: list[tuple[ToolSpec, float | None]], about: dict[str, str]) -> dict[str, object]:
    return {
        "servers": [
            {
                "name": server,
                "description": description,
                "tools": [
                    {"name": tool.name, "description": tool.description, "inputSchema": dict(tool.input_schema)}
                    for tool, _ in tools
                    if tool.server == server
                ],
            }
            for server, description in about.items()
        ]
    }


def _found(tool: ToolSpec, score: float | None) -> dict[str, object]:
    return {
        "server": tool.server,
        "name": tool.name,
        "description": tool.description,
        "inputSchema": dict(tool.input_schema),
        "score": score,
    }
