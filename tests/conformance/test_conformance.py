"""The official suite passes through the gateway, as a server and as a client of servers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.__main__ import STUB
from tests.conformance.client import clients
from tests.conformance.report import Comparison
from tests.conformance.suites import (
    EXTENSIONS,
    LOGINS,
    SUITES,
    Era,
    Outcome,
    Suite,
    run_client_suite,
    run_server_suite,
)

pytestmark = pytest.mark.timeout(500)


def failed(outcomes: dict[str, Outcome], scored: frozenset[str] | None) -> dict[str, tuple[str, ...]]:
    """The problems of every scenario that counts, where there are any."""
    assert outcomes
    assert scored is None or scored <= set(outcomes)
    return {name: one.problems for name, one in outcomes.items() if not one.good and (scored is None or name in scored)}


@pytest.mark.node
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: str(suite.title))
def test_every_scored_server_scenario_passes_through_the_gateway(
    suite: Suite, node: str, serving: Callable[[Era], str], tmp_path: Path
) -> None:
    outcomes = run_server_suite(suite, serving(suite.era), tmp_path)
    assert failed(outcomes, suite.scored("server")) == {}


@pytest.fixture(scope="module")
def stub(node: str) -> Iterator[str]:
    """The command that the suite starts as a client."""
    with clients() as port:
        yield f"{sys.executable} -I -S {STUB} {port} gateway"


@pytest.mark.node
@pytest.mark.parametrize("suite", SUITES[1:], ids=lambda suite: str(suite.title))
def test_every_client_scenario_passes_with_our_downstream_side(suite: Suite, stub: str, tmp_path: Path) -> None:
    # The older revision's logins are among the newer one's.
    chosen = [name for name in suite.client_scenarios if name not in (*EXTENSIONS, *LOGINS)]
    if suite is SUITES[-1]:
        chosen += [*LOGINS, *(name for name in EXTENSIONS if "client-credentials" in name)]
    outcomes = run_client_suite(suite, stub, tmp_path, chosen)
    assert failed(outcomes, None) == {}


def test_a_scenario_is_lost_when_it_passes_directly_and_not_through_the_gateway() -> None:
    good, bad = Outcome(2, ()), Outcome(1, ("check: is wrong",))
    direct = {"kept": good, "lost": good, "missing": good, "impossible": bad}
    gateway = {"kept": good, "lost": bad, "impossible": bad}
    scored = frozenset({"kept", "lost", "missing"})
    comparison = Comparison("Server", {"direct": direct, "gateway": gateway}, scored)
    assert comparison.lost() == {"lost": ("check: is wrong",), "missing": ("not run",)}
    assert comparison.count().splitlines() == [
        "- direct: 3 of 3 scored scenarios, 6 of 6 checks.",
        "- gateway: 1 of 2 scored scenarios, 3 of 4 checks.",
    ]
    assert Comparison("Server", {"direct": direct, "gateway": gateway}, frozenset({"kept"})).lost() == {}
    assert comparison.table().splitlines()[2:6] == [
        "| scenario                | direct      | gateway     |",
        "| ----------------------- | ----------- | ----------- |",
        "| kept                    | 2 ok        | 2 ok        |",
        "| lost                    | 2 ok        | 1 FAIL of 2 |",
    ]
