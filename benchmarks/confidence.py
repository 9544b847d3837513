"""How true the confidence of whole decisions is, and what the thresholds do, on everyday requests that nothing is
trained on.

    python -m benchmarks.confidence --data DIR

The requests are `training/written/calibration*.jsonl`: those to tuned servers are asked among these, the others among
eight servers that are never trained on. DIR has the third-party data of the model card; without it only invented ones
of these are there. The temperature of what is read is fitted on four fifths of the requests and measured on the last,
five times; `exact` is what a confidence that is exactly true would measure, since bins of few cases err by chance.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Event

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.config import ThresholdSettings
from mcp_dualtune.evaluation.score import binned, calibration_error
from mcp_dualtune.models import embedded_model, encoder_folder
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.training.confidence import Judged, assembled, everyday, fit, is_right, judge
from mcp_dualtune.training.records import Case
from mcp_dualtune.training.sources import load_corpus, load_invented, tuned_corpus
from mcp_dualtune.types import Request

FOLDS, DRAWS = 5, 300
THRESHOLDS = ((1.0, 0.0), (0.5, 0.0), (0.3, 0.0), (0.2, 0.0), (0.3, 0.1), (0.3, 0.2), (0.3, 0.3), (0.3, 0.5))
"""Values of `nothing` and `ask` that are compared."""


def cross_fitted(judged: Sequence[Judged]) -> list[tuple[float, bool]]:
    """(confidence, whether it was right) of every decision, under a temperature fitted without it."""
    mixed = random.Random(0).sample(list(judged), len(judged))
    said = []
    for fold in range(FOLDS):
        temperature = fit([one for number, one in enumerate(mixed) if number % FOLDS != fold])
        said += [(one.confidence(temperature), one.right) for one in mixed[fold::FOLDS]]
    return said


def row(thresholds: ThresholdSettings, pipeline: Pipeline, asked: Iterable[tuple[Case, Catalog]]) -> str:
    """One line of the table of thresholds: what is decided under them."""
    right = strange = away = wrongly = ask = calls = 0
    for case, catalog in asked:
        made = pipeline.decide(Request(case.query), catalog, Event())
        ok, none, odd = is_right(made, case), made.outcome == "none", not case.server.name
        right, strange, away, wrongly = right + ok, strange + odd, away + (none and odd), wrongly + (none and not odd)
        ask, calls = ask + (made.outcome == "ask"), calls + (made.outcome == "call" and not ok)
    cells = (thresholds.nothing, thresholds.ask, right, f"{away} of {strange}", wrongly, ask, calls)
    return f"| {' | '.join(map(str, cells))} |"


def _error(said: Sequence[tuple[float, bool]]) -> float:
    return calibration_error(binned(said)) or 0.0


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="directory of the third-party data")
    args = parser.parse_args()
    corpus = load_corpus(args.data, texts=False) if args.data else tuned_corpus()
    if not args.data:
        load_invented(corpus)
    said = cross_fitted(judge(assembled(embedded_model(), encoder_folder()), everyday(corpus, "confidence")))
    rng = random.Random(0)
    exact = [_error([(chance, rng.random() < chance) for chance, _ in said]) for _ in range(DRAWS)]
    print(f"{len(said)} requests, {sum(right for _, right in said)} decided rightly")
    print(f"calibration error {_error(said):.3f}; exact {sum(exact) / DRAWS:.3f}")
    print("| nothing | ask | decided rightly | strange turned away | others turned away | asked back | wrong calls |")
    print(f"|{' --- |' * 7}", flush=True)
    for thresholds in (ThresholdSettings(nothing=nothing, ask=ask) for nothing, ask in THRESHOLDS):
        acting = assembled(embedded_model(), encoder_folder(), thresholds)
        print(row(thresholds, acting, everyday(corpus, "confidence")), flush=True)


if __name__ == "__main__":
    main()
