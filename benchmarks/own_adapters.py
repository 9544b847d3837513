"""What an adapter for one tool's arguments is worth, by its kind, rank and length of training.

    python -m benchmarks.own_adapters google-maps --kind read --rank 2 4 8 --steps 20

Trains on requests made up for a server of the unseen suite's catalog (the suite's own requests are not read) and
measures on held-out wordings, with the tool given. One line of JSON for each tool and rank.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mcp_dualtune.adapter_registry.manifest import WEIGHTS
from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.config import Settings
from mcp_dualtune.evaluation.cases import built_in
from mcp_dualtune.models import embedded_model, encoder_folder
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import PLANS, arguments_task
from mcp_dualtune.training.own_servers.makers import Maker, ReadingMaker, WritingMaker
from mcp_dualtune.training.own_servers.material import Material, make_material
from mcp_dualtune.training.own_servers.measuring import measure_arguments


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
        for rank in args.rank:
            maker = _maker(bench, material, args.kind, rank)
            for tool in server.tools:
                if (args.tools and tool.name not in args.tools) or not bench.kinds(material, tool):
                    continue
                cases = [*material.cases(material.gate, tool.name), *material.cases(material.report, tool.name)]
                task = arguments_task(args.kind, server, tool, 1.0, 1.0)
                plan = replace(PLANS[task.kind], steps=args.steps)
                job = replace(task.job, plan=replace(plan, other_rate=args.rate or plan.other_rate))
                before = measure_arguments(bench.pipeline, server, cases)
                began, folder = time.process_time(), Path(name) / job.folder
                maker.train(job, 0, Path(name) / f".runs-{rank}" / job.folder, folder, lambda share: None)
                spent = time.process_time() - began
                bench.pipeline.refresh(closely=True)
                after = measure_arguments(bench.pipeline, server, cases)
                row = {
                    "tool": tool.name, "kind": args.kind, "rank": rank, "steps": args.steps, "cases": before.total,
                    "before": before.share, "after": after.share, "cpu_seconds": round(spent, 1),
                    "megabytes": round((folder / WEIGHTS).stat().st_size / 1e6, 3),
                }  # fmt: skip
                print(json.dumps(row), flush=True)
                (folder / "manifest.json").unlink()
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
