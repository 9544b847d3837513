"""What is kept: gathered requests count at least half and have a veto; made-up ones alone have to speak clearly."""

from __future__ import annotations

import pytest

from mcp_dualtune.training.own_servers.judging import (
    NO_BETTER,
    UNCLEAR,
    WORSE,
    WORSE_GATHERED,
    WORSE_MADE_UP,
    Verdict,
    judge,
    weighted,
)
from mcp_dualtune.training.own_servers.measuring import Tally


def verdict(made_up: tuple[int, int, int], gathered: tuple[int, int, int] = (0, 0, 0)) -> Verdict:
    """Each is (right before, right after, of so many)."""
    real = [True] * gathered[2] + [False] * made_up[2]
    tallies = []
    for at in (0, 1):
        tally = Tally()
        for right, total in ((gathered[at], gathered[2]), (made_up[at], made_up[2])):
            for number in range(total):
                tally.add(number < right)
        tallies.append(tally)
    return judge(*tallies, real)


@pytest.mark.parametrize(
    ("made_up", "gathered", "reason"),
    [
        # Made-up requests alone: a clear gain, in share and against chance.
        ((38, 72, 100), (0, 0, 0), ""),
        ((38, 41, 100), (0, 0, 0), UNCLEAR),
        ((100, 103, 400), (0, 0, 0), UNCLEAR),
        ((1, 3, 10), (0, 0, 0), UNCLEAR),
        ((1, 5, 10), (0, 0, 0), ""),
        ((50, 50, 100), (0, 0, 0), NO_BETTER),
        ((50, 40, 100), (0, 0, 0), WORSE),
        # The case that was measured: much better on made-up requests, worse on people's.
        ((38, 72, 100), (9, 8, 15), WORSE_GATHERED),
        ((38, 72, 100), (1, 0, 2), WORSE_GATHERED),
        # Gathered ones say nothing: as if there were none.
        ((38, 72, 100), (2, 2, 4), ""),
        ((38, 40, 100), (2, 2, 4), UNCLEAR),
        # Gathered ones say yes: they count at least half.
        ((50, 50, 100), (1, 2, 4), ""),
        ((50, 45, 100), (1, 3, 6), ""),
        ((50, 45, 100), (1, 2, 4), WORSE_MADE_UP),
        ((90, 20, 100), (2, 3, 6), WORSE),
        # Nothing but gathered ones, and nothing at all.
        ((0, 0, 0), (1, 2, 4), ""),
        ((0, 0, 0), (0, 0, 0), NO_BETTER),
    ],
)
def test_what_is_kept(made_up: tuple[int, int, int], gathered: tuple[int, int, int], reason: str) -> None:
    found = verdict(made_up, gathered)
    assert (found.reason, found.kept) == (reason, not reason)
    assert (found.gathered, found.gathered_before, found.gathered_after) == (gathered[2], gathered[0], gathered[1])


def test_gains_and_losses_that_cancel_out_are_no_clear_gain() -> None:
    """60 of 100 changed and six more are right: that is a coin, not an adapter."""
    had, has = Tally(), Tally()
    for number in range(100):
        had.add(number < 27)
        has.add(27 <= number < 60)
    assert judge(had, has, [False] * 100).reason == UNCLEAR


def test_few_gathered_requests_weigh_half_and_many_what_they_are() -> None:
    made_up = [(False, False)] * 98
    assert weighted([(True, True)] * 2 + made_up) == 0.5
    assert weighted([(True, True)] * 196 + made_up[:49]) == pytest.approx(196 / 245)
    assert weighted([(True, False), (False, False)]) == 0.5
    assert weighted([]) is None
