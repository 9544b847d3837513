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


@dataclass(frozen=True)
class Wordings:
    """One side of the split."""

    held_out: bool = False

    def allowed(self, options: Sequence[str], *, always: bool = False) -> Sequence[str]:
        """The options of this side; all of them where this side has none. `always` keeps the sides strictly apart."""
        kept = [option for option in options if _kept_back(option) == self.held_out]
        return kept if kept or always else options

    def choose(self, options: Sequence[str], rng: random.Random) -> str:
        """One option; when measuring it is mostly a new one."""
        if self.held_out and rng.random() > NEW:
            return rng.choice(list(options))
        return rng.choice(list(self.allowed(options)))


@lru_cache(maxsize=20_000)
def _kept_back(option: str) -> bool:
    return bucket(f"wording {option}", HELD_OUT) == 0
