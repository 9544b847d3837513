"""Which wordings may be used: those for training, or those kept back for measuring.

The split is by wording, not by value: a sentence frame, a verb or a way to mention a parameter that is kept back is
never seen in training, so a measure on the rest says whether a request in new words is understood.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mcp_dualtune.training.records import bucket

HELD_OUT = 5
"""One wording in this many is kept back."""
NEW = 0.7
"""Share of choices for which a held-out request takes a wording that was kept back; the rest is as in training."""


@dataclass
class Wordings:
    """One side of the split."""

    held_out: bool = False
    new: int = 0
    """Wordings chosen since `start` that were kept back."""

    def start(self) -> None:
        """Begin another request."""
        self.new = 0

    @property
    def fair(self) -> bool:
        """Whether the request may be used on this side: one for measuring says something in a way that is new."""
        return not self.held_out or self.new > 0

    def choose(self, options: Sequence[str], rng: random.Random) -> str:
        """One option: in training none that is kept back (where there are others), in measuring mostly those."""
        known = [option for option in options if not _kept_back(option)]
        back = [option for option in options if _kept_back(option)]
        if self.held_out and back and rng.random() < NEW:
            self.new += 1
            return rng.choice(back)
        return rng.choice(list(options) if self.held_out else known or list(options))


@lru_cache(maxsize=20_000)
def _kept_back(option: str) -> bool:
    return bucket(f"wording {option}", HELD_OUT) == 0
