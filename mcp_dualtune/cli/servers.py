"""`dualtune servers`: every server of the config, started once, and how it is."""

from __future__ import annotations

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`servers` has only the common options."""


def run(args: argparse.Namespace) -> int:
    """Print the servers; exit code 5 when one of them cannot be used."""
    import anyio

    from mcp_dualtune.cli import exits, session
    from mcp_dualtune.cli.show import Screen

    async def look() -> list[dict[str, Any]]:
        async with session.open_gateway(args, model=False) as gateway:
            await gateway.wait_ready()
            return [session.describe(state, gateway) for state in gateway.server_states()]

    found = anyio.run(look)
    if args.json:
        exits.print_json({"servers": found})
    else:
        rows = [(one["name"], one["status"], one["transport"], str(one["tools"]), one["error"] or "") for one in found]
        Screen().table(("server", "state", "transport", "tools", "problem"), rows)
    return exits.DOWNSTREAM if any(one["error"] for one in found) else exits.DONE
