"""A few of the inputs of `python -m tests.fuzz`, so that no change breaks what all of them found."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.__main__ import SHARES, family

COUNTS = {"config": 200, "definition": 60}
FEW = 40


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform == "win32", reason="the time limit of one input is a signal")
@pytest.mark.parametrize("name", SHARES)
def test_hostile_inputs_are_survived(name: str) -> None:
    failures: list[str] = []
    outcomes = family(name, 7, COUNTS.get(name, FEW), failures)
    assert failures == []
    assert sum(outcomes.values()) >= COUNTS.get(name, FEW) and len(outcomes) > 1
