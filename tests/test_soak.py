"""The soak test keeps its books right, and a short storm breaks no promise; the long one is run by hand."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.soak import DESCRIPTORS, MEMORY_MB, Footprint, Report, Tally, soak, tell

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]
IDLE = Footprint(processes=15, threads=3, tasks=80, descriptors=30, memory_mb=90.0)


def report(after: Footprint = IDLE, tally: Tally | None = None, **counts: int) -> Report:
    found = {"repeated": 0, "unseen": 0, "left": 0, **counts}
    return Report(60.0, tally or Tally(), 15, IDLE, after, unhealed=(), **found)


def test_every_broken_promise_is_named() -> None:
    assert report().broken == []
    grown = Footprint(16, 5, 83, 30 + DESCRIPTORS + 2, 90.0 + MEMORY_MB + 7)
    bad = report(grown, Tally(calls=Counter(hung=1, wrong=2)), repeated=3, unseen=4, left=5)
    assert bad.broken == [
        "1 hung calls",
        "2 wrong answers",
        "3 calls made twice",
        "4 answers from nowhere",
        "5 processes left after the end",
        "1 processes too many",
        "2 threads too many",
        "3 tasks too many",
        "2 descriptors too many",
        "7 MB grown",
    ]


@pytest.mark.timeout(400)
async def test_a_short_storm_breaks_no_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = await soak(tmp_path, faults=15, seconds=120, seed=4)
    assert found.broken == []
    assert found.tally.calls["answered"] > 0
    assert sum(found.tally.faults.values()) >= 15
    tell(found)
    assert "nothing hung, nothing lost, nothing left" in capsys.readouterr().out
    assert json.loads(json.dumps(found.to_json()))["calls"] == dict(found.tally.calls)
