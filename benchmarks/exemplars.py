"""What earlier requests to compare with are worth: the choice of server and tool with a few of them for each tool.

    python -m benchmarks.exemplars --requests 900

For the servers in `training/written/invented.jsonl` that the shipped weights have not learnt from. Up to half of the
requests to each tool are given as exemplars, at most MOST of them; others are asked, each with its server among seven
others. `weight` is what closeness to an exemplar counts against closeness to a description.
"""

from __future__ import annotations

import argparse
import random
from threading import Event

from mcp_dualtune.config import Settings
from mcp_dualtune.engine import encoder
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.pipeline.exemplars import Row
from mcp_dualtune.pipeline.route import route
from mcp_dualtune.pipeline.select import select
from mcp_dualtune.pipeline.stages import Parts
from mcp_dualtune.training.records import fill
from mcp_dualtune.training.sources import Corpus, load_invented
from mcp_dualtune.types import Request

UNLEARNT = 87
"""The last servers of the file: they were written after the shipped weights were trained."""
BESIDE = 7
"""Other servers offered."""
MOST = 6
WEIGHTS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0)
COUNTS = (0, 1, 2, MOST)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=900)
    wanted = parser.parse_args().requests
    corpus, rng = Corpus(), random.Random("exemplars")
    load_invented(corpus)
    names = list(corpus.servers)[-UNLEARNT:]
    told: list[Row] = []
    asked: list[Row] = []
    for name in names:
        for entry in corpus.entries[name]:
            requests = [(name, entry.tool, fill(template, rng)[0]) for template in entry.requests]
            rng.shuffle(requests)
            first = min(MOST, len(requests) // 2)
            told += requests[:first]
            asked += requests[first:]
    rng.shuffle(asked)
    drawn = [(row, [row[0], *rng.sample([name for name in names if name != row[0]], BESIDE)]) for row in asked[:wanted]]
    parts = Parts(load_pipeline(Settings()).choosing, Event())
    print("| exemplars of a tool, at most | weight | server % | tool, server given % | both % |")
    print("| --- | --- | --- | --- | --- |")
    usual = encoder.EXEMPLAR
    for count, weight in [*((MOST, weight) for weight in WEIGHTS), *((count, usual) for count in COUNTS)]:
        encoder.EXEMPLAR = weight
        seen: dict[tuple[str, str], int] = {}
        given = []
        for row in told:
            seen[row[:2]] = seen.get(row[:2], 0) + 1
            given += [row] if seen[row[:2]] <= count else []
        parts.seat.exemplars.tell(given)
        hits = [0, 0, 0]
        for (name, tool, text), offered in drawn:
            request = Request(text)
            server = route(parts, request, [corpus.servers[one] for one in offered]).record.choice == name
            right = select(parts, request, corpus.servers[name]).record.choice == tool
            hits = [hits[0] + server, hits[1] + right, hits[2] + (server and right)]
        cells = [f"{100 * hit / len(drawn):.1f}" for hit in hits]
        print(f"| {count} | {weight} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
