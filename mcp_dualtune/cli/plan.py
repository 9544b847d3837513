"""`dualtune plan`: decide for a request, call nothing."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `plan`."""
    parser.add_argument("request", help="what is wanted, in plain words; - reads it from stdin")
    parser.add_argument("--server", action="append", metavar="NAME", help="choose only from this server (repeatable)")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="decide over this catalog; no server is started")


def run(args: argparse.Namespace) -> int:
    """Print the decision; the exit code says its outcome."""
    import anyio

    from mcp_dualtune.cli import exits, session
    from mcp_dualtune.records import decision_json
    from mcp_dualtune.types import Decision

    request = session.read_request(args)

    async def decide() -> Decision:
        async with session.open_gateway(args) as gateway:
            return await gateway.plan(request)

    decision = anyio.run(decide)
    if args.json:
        exits.print_json(decision_json(decision))
    else:
        from mcp_dualtune.cli.show import Screen

        Screen().decision(decision, request.text)
    return exits.of_decision(decision)
