"""The reliability diagram of an evaluation: what share of the decisions of each confidence was right.

dualtune evaluate seven --json > seven.json
python -m benchmarks.reliability seven.json --plot docs/reliability.svg
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line for each report, beside the line of perfect calibration; dots grow with the number of cases."""
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for report in reports:
        bins = report["reliability"]
        sure, right = [one["confidence"] for one in bins], [one["right"]["value"] for one in bins]
        label = f"{report['suite']}: calibration error {report['calibration_error']:.3f}"
        (line,) = axes.plot(sure, right, linewidth=1, label=label)
        axes.scatter(sure, right, [8 + one["right"]["total"] for one in bins], color=line.get_color())
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="what `dualtune evaluate --json` printed")
    parser.add_argument("--plot", type=Path, required=True, help="file to draw into (needs matplotlib)")
    args = parser.parse_args()
    plot([json.loads(path.read_text(encoding="utf-8")) for path in args.reports], args.plot)


if __name__ == "__main__":
    main()
