"""Whether an adapter is kept: what the gate's requests say, and how much what was made up may say alone.

Owns that judgement. Made-up requests are made by the same rules as those that are learnt from: adapters that are much
better on them have been worse on people's. So what was gathered counts at least half, is a veto where it gets worse,
and where it says nothing, made-up requests have to speak clearly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mcp_dualtune.training.own_servers.measuring import Tally

HALF = 0.5
"""What gathered requests weigh together, at least."""
FEW = 5
"""With fewer gathered requests than this, what they gain is no reason to get worse on made-up ones."""
CLEAR, SURE = 0.05, 1.64
"""A clear gain: this share of the requests, and so many times what chance would come to (one in twenty by chance)."""

NO_BETTER = "no better than what is in use"
WORSE = "worse"
WORSE_GATHERED = "worse on requests that were not made up"
WORSE_MADE_UP = "worse on made-up requests, and too few others speak for it"
UNCLEAR = "only made-up requests speak for it, and not clearly"


@dataclass(frozen=True)
class Verdict:
    """What came of one adapter."""

    reason: str
    """Why it is not kept; empty where it is."""
    before: float | None
    """Share of right ones, gathered requests counting at least half."""
    after: float | None
    gathered: int
    """Requests of the gate that were not made up."""
    gathered_before: int
    """How many of these were right."""
    gathered_after: int

    @property
    def kept(self) -> bool:
        """Whether it is worth using."""
        return not self.reason


def judge(had: Tally, has: Tally, gathered: Sequence[bool]) -> Verdict:
    """Compare the same requests without and with the adapter; `gathered` says of each whether it was not made up."""
    before, after = ([right for _, right in tally.chances] for tally in (had, has))
    pairs = list(zip(before, after, gathered, strict=True))
    own = [(was, now) for was, now, real in pairs if real]
    made_up = [(was, now) for was, now, real in pairs if not real]
    had_share, has_share = (weighted([*zip(given, gathered, strict=True)]) for given in (before, after))
    return Verdict(
        reason=_reason(own, made_up, had_share or 0.0, has_share or 0.0),
        before=had_share,
        after=has_share,
        gathered=len(own),
        gathered_before=sum(was for was, _ in own),
        gathered_after=sum(now for _, now in own),
    )


def weighted(answers: Sequence[tuple[bool, bool]]) -> float | None:
    """The share of right ones among (right, gathered); None where there are none."""
    own = [right for right, real in answers if real]
    made_up = [right for right, real in answers if not real]
    if not own or not made_up:
        return sum(right for right, _ in answers) / len(answers) if answers else None
    weight = max(HALF, len(own) / len(answers))
    return weight * sum(own) / len(own) + (1 - weight) * sum(made_up) / len(made_up)


def _reason(own: Sequence[tuple[bool, bool]], made_up: Sequence[tuple[bool, bool]], before: float, after: float) -> str:
    if _gain(own) < 0:
        return WORSE_GATHERED
    if math.isclose(before, after):
        return NO_BETTER
    if after < before:
        return WORSE
    if _gain(own) == 0 and not _clear(made_up):
        return UNCLEAR
    if len(own) < FEW and _gain(made_up) < 0:
        return WORSE_MADE_UP
    return ""


def _gain(pairs: Sequence[tuple[bool, bool]]) -> int:
    return sum(now - was for was, now in pairs)


def _clear(pairs: Sequence[tuple[bool, bool]]) -> bool:
    changed = sum(was != now for was, now in pairs)
    return _gain(pairs) > 0 and _gain(pairs) >= max(CLEAR * len(pairs), SURE * math.sqrt(changed))
