"""The circuit of one server, under a clock that the test moves."""

from __future__ import annotations

import pytest

from mcp_dualtune.downstream import breaker as breaker_module
from mcp_dualtune.downstream.breaker import FAILURES_TO_OPEN, FIRST_PAUSE, LONGEST_PAUSE, Breaker


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses without jitter."""
    monkeypatch.setattr(breaker_module, "jittered", lambda seconds: seconds)


def opened(at: float = 100.0) -> Breaker:
    breaker = Breaker()
    for turn in range(FAILURES_TO_OPEN):
        now = at - FAILURES_TO_OPEN + 1 + turn
        breaker.failed(now, now)
    return breaker


def test_failures_in_a_row_open_it_and_calls_are_refused_until_the_pause_is_over() -> None:
    breaker = opened(at=100)
    assert (breaker.circuit, breaker.retry_at) == ("open", 100 + FIRST_PAUSE)
    assert breaker.admit(100 + FIRST_PAUSE - 0.1) == "refused"
    assert breaker.admit(100 + FIRST_PAUSE) == "probe"


def test_an_answer_between_failures_keeps_it_closed() -> None:
    breaker = Breaker()
    for now in range(10):
        breaker.failed(now, now)
        if now % 2:
            breaker.succeeded()
    assert breaker.circuit == "closed"
    assert breaker.admit(10) == "go"


def test_calls_that_were_under_way_together_count_once() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.failed(began=1.0, now=2.0)
    assert (breaker.failures, breaker.circuit) == (1, "closed")


def test_one_call_at_a_time_tries_a_half_open_circuit() -> None:
    breaker = opened()
    later = 100 + FIRST_PAUSE
    assert breaker.admit(later) == "probe"
    assert breaker.circuit == "half-open"
    assert breaker.admit(later) == "refused"
    breaker.probed()
    # The call was cancelled, so that nothing is known: the next one tries.
    assert breaker.admit(later) == "probe"
    breaker.succeeded()
    breaker.probed()
    assert (breaker.circuit, breaker.admit(later)) == ("closed", "go")


def test_pauses_double_up_to_a_limit_and_start_again_after_an_answer() -> None:
    breaker, now, pauses = opened(), 100.0, []
    for _ in range(6):
        assert breaker.retry_at is not None
        pauses.append(breaker.retry_at - now)
        now = breaker.retry_at
        assert breaker.admit(now) == "probe"
        breaker.failed(now, now)
        breaker.probed()
    assert pauses == [FIRST_PAUSE, 10, 20, 40, LONGEST_PAUSE, LONGEST_PAUSE]
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN):
        now += 1
        breaker.failed(now, now)
    assert breaker.retry_at == now + FIRST_PAUSE
