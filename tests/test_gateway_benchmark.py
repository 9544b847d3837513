"""The benchmark of calls through us: what it computes, and one real burst."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import gateway
from benchmarks.gateway import CALLERS, Way, commands, of_times, opened, summary, tell


def way(name: str, ms: float) -> Way:
    found = Way(name, cast(Any, None), "echo")
    for callers in CALLERS:
        found.ms[callers] = [ms, ms, ms * 10]
        found.seconds[callers], found.cpu[callers] = 1.5, 0.006
    return found


def test_what_is_added_is_the_difference_to_direct_calls(capsys: pytest.CaptureFixture[str]) -> None:
    found = summary([way("direct", 1.0), way("dualtune", 3.0)])
    assert found["direct"]["1"]["added_p50_ms"] == 0
    one = found["dualtune"]["100"]
    assert (one["p50_ms"], one["added_p50_ms"], one["added_p95_ms"]) == (3.0, 2.0, 20.0)
    assert (one["calls_per_s"], one["cpu_ms"]) == (2.0, 2.0)
    start = {"dualtune": [of_times([1.0]), of_times([])]}
    tell({"load_average": None, "cores": 2, "python": "3", "transports": {"stdio": found}, "start": start})
    shown = capsys.readouterr().out
    assert "dualtune       100     3.00" in shown and "second 2:     0 calls, p50 nan" in shown


def test_peers_that_are_not_installed_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PEERS", tmp_path)
    assert set(commands(tmp_path, None)) == set(commands(tmp_path, 1)) == {"direct", "dualtune"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Any]:
    with (tmp_path / "log").open("w", encoding="utf-8") as opened_file:
        yield opened_file


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_burst_of_direct_calls_is_timed(transport: str, tmp_path: Path, log: Any) -> None:
    async with opened("direct", tmp_path, transport, log) as direct:
        await direct.burst(10, 20)
        assert direct.tool == "echo"
        assert len(direct.ms[10]) == 20 and min(direct.ms[10]) > 0
        assert direct.seconds[10] * 1000 >= max(direct.ms[10])
        assert direct.pid is None or not math.isnan(direct.cpu[10])
