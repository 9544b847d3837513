"""How the choice of server and tool holds up as the catalog grows: the built-in suites among ever more tools.

    python -m benchmarks.catalog_size --catalogue FILE --plot docs/catalog_size.svg

FILE is a JSON Lines list of servers ({"server": ..., "description": ..., "tools": [...]}), plain or gzipped, that the
distractors are drawn from: adapters/nano/README.md names the one that the published numbers use. Servers of the suites
and servers of like names are left out. For every case the right server comes first, and the same distractors follow in
the same order until the catalog has as many tools as asked for: a smaller catalog is a part of a larger one.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.config import Config, Settings
from mcp_dualtune.evaluation.cases import Case, built_in, load_suite
from mcp_dualtune.evaluation.harness import Decider, as_request
from mcp_dualtune.evaluation.score import Rate, percentile
from mcp_dualtune.pipeline.route import route
from mcp_dualtune.pipeline.select import select
from mcp_dualtune.pipeline.stages import Parts
from mcp_dualtune.training.sources import make_server, read_rows
from mcp_dualtune.types import ServerSpec

SUITES = ("seven", "unseen")
SIZES = (10, 50, 100, 300, 1000, 3000)
SEED = "catalog size"


@dataclass(frozen=True)
class Point:
    """What came out at one size."""

    suite: str
    tools: int
    servers: int
    server: Rate
    tool: Rate
    ms: float
    """Median of both choices, tools embedded before."""


def distractors(path: Path, without: Sequence[ServerSpec]) -> list[ServerSpec]:
    """The servers of a catalogue file in a fixed random order, but for those that are or copy one of `without`."""
    names = {server.name.lower() for server in without}
    tools = {tool.name for server in without for tool in server.tools}
    found = []
    for row in read_rows(path):
        spec = make_server(row["server"], row.get("description") or "", row["tools"])
        if spec is None or not spec.tools:
            continue
        same = sum(tool.name in tools for tool in spec.tools)
        if not any(name in spec.name.lower() for name in names) and same * 3 <= len(spec.tools):
            found.append(spec)
    random.Random(SEED).shuffle(found)
    return found


def among(server: ServerSpec, others: Sequence[ServerSpec], tools: int) -> tuple[ServerSpec, ...]:
    """`server` and as many of `others` as make a catalog of about `tools` tools (the server alone when it has more)."""
    shown, count = [server], len(server.tools)
    for other in others:
        if count >= tools:
            break
        if other.name != server.name:
            shown.append(other)
            count += len(other.tools)
    return tuple(sorted(shown, key=lambda one: one.name))


def measure(decider: Decider, suite: str, others: Sequence[ServerSpec], sizes: Sequence[int]) -> list[Point]:
    """All sizes for the cases of one suite that ask for a call."""
    files = built_in(suite)
    assert files is not None
    catalog = load_catalog_file(files[1])
    cases = [case for case in load_suite(files[0]) if case.expected.outcome == "call"]
    return [_point(decider, suite, cases, {s.name: s for s in catalog.servers}, others, size) for size in sizes]


def _point(
    decider: Decider,
    suite: str,
    cases: Sequence[Case],
    servers: dict[str, ServerSpec],
    others: Sequence[ServerSpec],
    size: int,
) -> Point:
    parts = Parts(decider.pipeline.choosing, Event())
    routed = selected = 0
    shown: tuple[ServerSpec, ...] = ()
    times = []
    for case in cases:
        name = case.expected.server or ""
        shown = among(servers[name], others, size)
        request = as_request(case, Config())
        started = perf_counter()
        choice = route(parts, request, shown).record.choice
        right = any(answer.server == choice for answer in case.answers)
        tool = select(parts, request, servers[choice]).record.choice if right else None
        times.append((perf_counter() - started) * 1000)
        routed += right
        selected += any((answer.server, answer.tool) == (choice, tool) for answer in case.answers)
    return Point(
        suite, sum(len(server.tools) for server in shown), len(shown),
        Rate(routed, len(cases)), Rate(selected, len(cases)), percentile(times, 50) or 0.0,
    )  # fmt: skip


def table(points: Sequence[Point]) -> str:
    """Markdown."""
    lines = ["| suite | tools | servers | server % | tool % | median ms |", "| --- | --- | --- | --- | --- | --- |"]
    for p in points:
        lines.append(f"| {p.suite} | {p.tools} | {p.servers} | {p.server.percent} | {p.tool.percent} | {p.ms:.0f} |")
    return "\n".join(lines)


def plot(points: Sequence[Point], path: Path) -> None:
    """Accuracy over the number of tools."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for suite in dict.fromkeys(point.suite for point in points):
        own = [point for point in points if point.suite == suite]
        for name, style in (("server", "--"), ("tool", "-")):
            shares = [100 * getattr(point, name).value for point in own]
            axes.plot([point.tools for point in own], shares, style, marker="o", label=f"{suite}: {name}")
    axes.set(xscale="log", xlabel="tools in the catalog", ylabel="right choices, %", ylim=(0, 100))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, required=True, help="servers to draw distractors from, JSON Lines")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of tools")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--plot", type=Path, help="draw them into this file (needs matplotlib)")
    args = parser.parse_args()
    decider = Decider.load(Config(settings=Settings()))
    catalogs = [load_catalog_file(files[1]) for name in SUITES if (files := built_in(name))]
    others = distractors(args.catalogue, [server for catalog in catalogs for server in catalog.servers])
    points: list[Point] = []
    for suite in SUITES:
        points += measure(decider, suite, others, [int(size) for size in args.sizes.split(",")])
    print(table(points))
    if args.json:
        rows = [{**vars(p), "server": vars(p.server), "tool": vars(p.tool)} for p in points]
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if args.plot:
        plot(points, args.plot)


if __name__ == "__main__":
    main()
