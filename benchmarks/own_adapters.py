"""What adapters for tools' arguments are worth, by their kind, rank and length of training: those that read are trained
as one for all tools of a server, those that write tool by tool.

    python -m benchmarks.own_adapters google-maps --kind read --rank 2 4 8 --steps 20

Trains on requests made up for a server of the unseen suite's catalog (the suite's own requests are not read) and
measures on held-out wordings, with the tool given. One line of JSON for each tool and rank;
the seconds are those of the training that the tool's adapter came from.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.config import Settings
from mcp_dualtune.evaluation.cases import built_in
from mcp_dualtune.models import embedded_model, encoder_folder
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import PLANS, reading_task, writing_task
from mcp_dualtune.training.own_servers.makers import Maker, ReadingMaker, WritingMaker
from mcp_dualtune.training.own_servers.material import Material, make_material
from mcp_dualtune.training.own_servers.measuring import measure_arguments
from mcp_dualtune.training.own_servers.outcome import adapters_in, megabytes


def main() -> None:
    """Measure every tool of the server under every rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--kind", choices=["read", "write"], default="read")
    parser.add_argument("--rank", type=int, nargs="+", default=[4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--tools", nargs="+", default=None)
    args = parser.parse_args()
    known = built_in("unseen")
    assert known is not None
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Settings(), Path(name), Tuning())
        server = bench.shown(load_catalog_file(known[1]).server(args.server))
        material = make_material(server, 0)
        tools = [tool for tool in server.tools if bench.kinds(material, tool)]
        tools = [tool for tool in tools if not args.tools or tool.name in args.tools]
        tasks = [(writing_task(server, tool, 1.0, 1.0), [tool]) for tool in tools]
        for rank in args.rank:
            maker = _maker(bench, material, args.kind, rank)
            for task, of_task in tasks if args.kind == "write" else [(reading_task(server, 1.0), tools)]:
                cases = {tool.name: material.cases([*material.gate, *material.report], tool.name) for tool in of_task}
                before = {name: measure_arguments(bench.pipeline, server, given) for name, given in cases.items()}
                plan = replace(PLANS[task.kind], steps=args.steps)
                job = replace(task.job, plan=replace(plan, other_rate=args.rate or plan.other_rate))
                began, folder = time.process_time(), Path(name) / job.folder
                maker.train(job, 0, Path(name) / f".runs-{rank}" / job.folder, folder, lambda share: None)
                spent = time.process_time() - began
                bench.pipeline.refresh(closely=True)
                for tool, given in cases.items():
                    after = measure_arguments(bench.pipeline, server, given)
                    row = {
                        "tool": tool, "kind": args.kind, "rank": rank, "steps": args.steps, "cases": after.total,
                        "before": before[tool].share, "after": after.share, "cpu_seconds": round(spent, 1),
                        "megabytes": round(megabytes(folder) / len(adapters_in(folder)), 3),
                    }  # fmt: skip
                    print(json.dumps(row), flush=True)
                shutil.rmtree(folder)
                bench.pipeline.refresh(closely=True)


def _maker(bench: Bench, material: Material, kind: str, rank: int) -> Maker:
    pipeline = bench.pipeline
    assert pipeline.reader is not None
    store = pipeline.reader.adapters if kind == "read" else pipeline.filling.adapters
    below = store.best("arguments")
    if kind == "read":
        assert below is not None
        return ReadingMaker(encoder_folder(), store.base_digest, material, below, rank)
    return WritingMaker(embedded_model(), store.base_digest, material, below, rank)


if __name__ == "__main__":
    main()
