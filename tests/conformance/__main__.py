"""`python -m tests.conformance`: the official suite against the fixture server, directly and through the gateway.

Prints one table per release and revision, and ends with 1 when a scored scenario passes directly but not through the
gateway.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.conformance.endpoints import Transport, fixture_server, gateway
from tests.conformance.packages import NodeMissing, install
from tests.conformance.report import Comparison
from tests.conformance.suites import SUITES, Era, run_client_suite, run_server_suite

STUB = Path(__file__).with_name("stub.py")
OTHER: dict[Era, Era] = {"legacy": "auto", "auto": "legacy"}


def servers(folder: Path, *, behind: Transport, crossed: bool) -> Iterator[Comparison]:
    """Run every server suite directly and through the gateway.

    Args:
        behind: how the gateway reaches its fixture server.
        crossed: also with a connection of the other protocol era between gateway and server.
    """
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        direct = threads.submit(stack.enter_context, fixture_server())
        eras: list[Era] = ["legacy", "auto"]
        gateways = {era: threads.submit(stack.enter_context, gateway(folder, era, behind)) for era in eras}
        for suite in SUITES:
            ways = {"direct": direct.result(), "gateway": gateways[suite.era].result()}
            if crossed:
                ways["gateway, other era behind"] = gateways[OTHER[suite.era]].result()
            runs = {
                way: threads.submit(run_server_suite, suite, url, folder / suite.title / way)
                for way, url in ways.items()
            }
            yield Comparison(
                f"Server, {suite.title}", {way: run.result() for way, run in runs.items()}, suite.scored("server")
            )


def clients(folder: Path) -> Iterator[Comparison]:
    """Run the client scenarios with the SDK's own client and with our downstream side."""
    from tests.conformance.client import clients as waiting  # noqa: PLC0415  (loads the model framework)

    with waiting() as port, ThreadPoolExecutor() as threads:
        for suite in SUITES:
            runs = {
                way: threads.submit(
                    run_client_suite, suite, f"{sys.executable} -I -S {STUB} {port} {way}", folder / suite.title / way
                )
                for way in ("SDK", "gateway")
            }
            yield Comparison(
                f"Client, {suite.title}", {way: run.result() for way, run in runs.items()}, suite.scored("client")
            )


def main() -> int:
    """Read the command line, run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("leg", nargs="?", choices=["server", "client", "all"], default="all")
    parser.add_argument("--behind", choices=["stdio", "http"], default="stdio", help="the fixture server's transport")
    parser.add_argument(
        "--crossed", action="store_true", help="show also what a server of the other protocol era behind does"
    )
    parser.add_argument("--keep", type=Path, help="folder for the suite's own results")
    options = parser.parse_args()
    try:
        install()
    except NodeMissing as missing:
        print(missing, file=sys.stderr)
        return 2
    # What the SDK thinks of the scenarios' servers is what the scenarios are about.
    logging.getLogger().setLevel(logging.CRITICAL)
    lost = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Iterator[Comparison]] = []
        if options.leg != "client":
            made.append(servers(folder, behind=options.behind, crossed=options.crossed))
        if options.leg != "server":
            made.append(clients(folder))
        for comparison in (comparison for comparisons in made for comparison in comparisons):
            print(comparison.table(), end="\n\n", flush=True)
            for scenario, problems in comparison.lost().items():
                lost += 1
                print(f"{scenario}:", *problems, sep="\n  ", end="\n\n", flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
