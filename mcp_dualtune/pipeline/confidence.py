"""How sure a stage is, and when that is too little to act on.

Owns calibration (an adapter's temperature) and the thresholds' meaning. It does not choose what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mcp_dualtune.types import NONE, AdapterRef, StageRecord

BASE = "base"
"""What a stage record calls a model without an adapter."""
ALTERNATIVES = 4
"""Runners-up that a stage record keeps."""
NOTHING = 0.75
"""Probability that `none` must exceed to come first. (The threshold `nothing` turns requests away for less where no
server may fit; among one server's tools nothing does.)"""
DECLINED = 0.3
"""Default of the threshold `nothing` for a route stage with an adapter: of 541 everyday requests that a server fits, it
turns 14 away (at a half 7), of 65 others 55 (51), and most are decided rightly (`python -m benchmarks.confidence`)."""
RUNNER_UP = 0.2
"""Least probability of a further server that is asked for a tool, as a share of the likeliest one's; the product of
server and tool decides. Below it the route stage held the server to be clearly wrong, and asking it would make a right
`none` a wrong call."""
ASKED = 3
"""Servers that are asked at most."""


def calibrate(log_probabilities: Sequence[float], adapter: AdapterRef | None) -> tuple[float, ...]:
    """Probabilities of all options, summing to 1, after the adapter's temperature."""
    temperature = adapter.temperature if adapter else 1.0
    scaled = [value / temperature for value in log_probabilities]
    top = max(scaled)
    weights = [math.exp(value - top) for value in scaled]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def joint(token_probabilities: Sequence[float], adapter: AdapterRef | None) -> float:
    """Probability of a whole generated answer: the product over the tokens the model chose, after the temperature."""
    temperature = adapter.temperature if adapter else 1.0
    if any(probability <= 0.0 for probability in token_probabilities):
        return 0.0
    return math.exp(sum(math.log(probability) for probability in token_probabilities) / temperature)


def declined(nothing: float, limit: float | None, adapter: str) -> bool:
    """Whether a probability of `none` is enough to choose no server, under the threshold `nothing` of the settings.

    `adapter` is the stage record's: without one nothing is calibrated, and unless a limit is set there is none.
    """
    if limit is None:
        limit = 1.0 if adapter == BASE else DECLINED
    return nothing > limit


def product(stages: Sequence[StageRecord]) -> float:
    """Confidence in a decision that needed all of `stages` to be right."""
    return math.prod(stage.probability for stage in stages)


def ranked(options: Sequence[str], probabilities: Sequence[float]) -> list[tuple[str, float]]:
    """Options with their probabilities, best first; equal ones in the order offered.

    `none` comes first only where it is much likelier than everything offered together: a model that hesitates between
    two tools that fit gives each less than a lone `none`, and yet something fits.
    """
    pairs = sorted(zip(options, probabilities, strict=True), key=lambda pair: -pair[1])
    if pairs[0][0] == NONE and pairs[0][1] <= NOTHING and len(pairs) > 1:
        pairs[0], pairs[1] = pairs[1], pairs[0]
    return pairs


def adapter_name(adapter: AdapterRef | None) -> str:
    """What a stage record says spoke."""
    return adapter.name if adapter else BASE
