"""How long `dualtune report` takes on five servers, catalogs of the package, in a fresh process.

python -m benchmarks.report
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

SERVERS = ("filesystem", "git", "memory", "sqlite", "time")
LIMIT = 1800.0
"""Seconds that a report may take here; it promises 300."""


def catalog() -> dict[str, Any]:
    """The five servers as a catalog file says them."""
    folder = resources.files("mcp_dualtune.training").joinpath("servers")
    listed = [json.loads(folder.joinpath(f"{name}.json").read_text("utf-8")) for name in SERVERS]
    return {
        "servers": [
            {"name": one["name"], "description": one["descriptions"][0], "tools": one["tools"]} for one in listed
        ]
    }


def measure(output: Path | None) -> dict[str, Any]:
    """Make one report; seconds on the clock and of the processor, and what the report says itself."""
    with tempfile.TemporaryDirectory(prefix="dualtune-report-") as scratch:
        file, config = Path(scratch) / "catalog.json", Path(scratch) / "config.json"
        file.write_text(json.dumps(catalog()), encoding="utf-8")
        config.write_text("{}", encoding="utf-8")
        page = output or Path(scratch) / "report.html"
        command = [sys.executable, "-m", "mcp_dualtune", "report", "--catalog", str(file), "--config", str(config)]
        before, started = os.getloadavg()[0], time.perf_counter()
        done = subprocess.run(
            [*command, "--output", str(page), "--json"], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"the report failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        said = json.loads(done.stdout)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "seconds": round(seconds, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "cores": os.cpu_count(),
            "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
            "requests": sum(said["requests"].values()),
            "tools": sum(said["servers"].values()),
            "peak_memory_mb": said["peak_memory_mb"],
            "page_bytes": page.stat().st_size,
            "ways": {way["way"]: [way["cases"], way["note"]] for way in said["ways"]},
        }


def main() -> int:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description="Time `dualtune report` on five servers.")
    parser.add_argument("--output", type=Path, help="keep the page")
    print(json.dumps(measure(parser.parse_args().output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
