"""`dualtune servers`: every server of the config, started once, and how it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`servers` has only the common options."""


TITLES = ("server", "state", "transport", "protocol", "pid", "tools", "restarts", "circuit", "start", "problem")


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
        Screen().table(TITLES, [_row(one) for one in found])
    return exits.DOWNSTREAM if any(one["error"] for one in found) else exits.DONE


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    circuit = one["circuit"]
    if one["retry_seconds"] is not None:
        circuit += f", next try in {one['retry_seconds']:g} s"
    start = "" if one["handshake_ms"] is None else f"{one['handshake_ms']} ms"
    plain = [one["name"], one["status"], one["transport"], one["protocol"], one["pid"], one["tools"], one["restarts"]]
    return (*("" if cell is None else str(cell) for cell in plain), circuit, start, one["error"] or "")
