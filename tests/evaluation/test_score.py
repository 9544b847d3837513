"""What counts as right, and how the numbers come about."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.score import (
    Rate,
    calibration_error,
    is_right,
    percentile,
    reliability,
    same_arguments,
    score,
)
from mcp_dualtune.types import JSON


def case(name: str, *answers: Answer, rules: dict[str, str] | None = None, kind: str = "direct") -> Case:
    return Case(name, "q", kind, answers, rules or {})


def call(server: str, tool: str, **arguments: JSON) -> Answer:
    return Answer("call", server, tool, arguments)


@pytest.mark.parametrize(
    ("rule", "expected", "good", "bad"),
    [
        ("", "a", ["a"], ["A", "a ", None, 1]),
        ("", 5, [5, 5.0], ["5", True, 6]),
        ("", 1, [1], [True]),
        ("", {"a": [1, None]}, [{"a": [1.0, None]}], [{"a": [None, 1]}, {"a": [1, None], "b": 1}, {}]),
        ("any", "x", [None, 3, "y"], []),
        ("ci", "Ärger", ["ärger", "ÄRGER"], ["arger", 3, None]),
        ("path", "./a/b/", ["a/b", "a/b/", "a/./b", "./a/b"], ["/a/b", "A/b", "a/b/c", None]),
        ("path", "/", ["/", "/./"], ["", "a"]),
        ("path", "C:\\x", ["C:\\x", "C:\\x\\"], ["C:\\y"]),
        ("number", 5, [5, 5.0], ["5", 5.5, True]),
        ("unordered", ["a", "b", "b"], [["b", "a", "b"]], [["a", "b"], ["a", "a", "b"], ["a", "b", "b", "c"], "abb"]),
        ("unordered", [{"n": 1}, {"n": 2}], [[{"n": 2}, {"n": 1}]], [[{"n": 2}, {"n": 2}]]),
        ("contains:Kings X", "anything", ["at kings x, London"], ["kings", None]),
        ("contains:größe", "", [["Die Größe"], {"k": "GRÖßE"}], [["Groesse"]]),
    ],
)
def test_a_rule_tells_equal_from_different(rule: str, expected: JSON, good: list[Any], bad: list[Any]) -> None:
    rules = {"x": rule} if rule else {}
    for value in good:
        assert same_arguments({"x": expected}, {"x": value}, rules), value
    for value in bad:
        assert not same_arguments({"x": expected}, {"x": value}, rules), value


def test_arguments_must_have_the_same_names() -> None:
    rules = {"x": "any", "y": "any"}
    assert not same_arguments({"x": 1}, {}, rules)
    assert not same_arguments({}, {"x": 1}, rules)
    assert not same_arguments({"x": 1}, {"x": 1, "y": 2}, rules)


def test_each_outcome_has_its_own_meaning_of_right() -> None:
    wanted = case("a", Answer("ask", "git", "log", missing=frozenset({"p", "q"})))
    assert is_right(wanted, Prediction("a", "ask", "git", "log", {"n": 3}, ("q", "p")))
    assert not is_right(wanted, Prediction("a", "ask", "git", "log", {}, ("p",)))
    assert not is_right(wanted, Prediction("a", "ask", "git", "show", {}, ("p", "q")))
    assert not is_right(wanted, Prediction("a", "call", "git", "log", {}, ()))
    assert is_right(case("b", Answer("none")), Prediction("b", "none"))
    assert not is_right(case("b", Answer("none")), Prediction("b", "finish"))
    assert is_right(case("c", Answer("finish")), Prediction("c", "finish"))
    assert not is_right(case("c", Answer("none")), Prediction("c", "error", error="too long"))


def test_every_rate_counts_the_cases_it_is_about() -> None:
    cases = [
        case("right", call("fs", "read", p="a"), call("fs", "old_read", p="a")),
        case("wrong argument", call("fs", "read", p="a")),
        case("wrong tool", call("fs", "read", p="a"), kind="terse"),
        case("other accepted tool", call("fs", "read", p="a"), call("git", "show", p="b")),
        case("turned away", call("git", "log")),
        case("asked", Answer("ask", "git", "log", missing=frozenset({"p"}))),
        case("nothing", Answer("none")),
        case("done", Answer("finish")),
        case("broken", call("git", "log")),
    ]
    predictions = [
        Prediction("right", "call", "fs", "old_read", {"p": "a"}, confidence=0.9, ms=10),
        Prediction("wrong argument", "call", "fs", "read", {"p": "b"}, confidence=0.9, ms=20),
        Prediction("wrong tool", "ask", "fs", "write", {}, ("p",), confidence=0.5, ms=30),
        Prediction("other accepted tool", "call", "git", "show", {"p": "x"}, confidence=0.5, ms=40),
        Prediction("turned away", "none", confidence=0.5, ms=50),
        Prediction("asked", "ask", "git", "log", {}, ("p",), confidence=0.5, ms=60),
        Prediction("nothing", "none", confidence=0.5, ms=70),
        Prediction("done", "call", "fs", "read", {}, confidence=0.5, ms=80),
        Prediction("broken", "error", ms=90, error="too long"),
    ]
    found = score(cases, predictions)
    assert found.rates.server == Rate(5, 7)
    assert found.rates.tool == Rate(4, 7)
    assert found.rates.full_call == Rate(1, 6)
    assert found.rates.decision == Rate(3, 9)
    assert found.by_kind["terse"].decision == Rate(0, 1)
    assert found.by_server["git"].decision == Rate(1, 3)
    assert (found.ask_precision, found.ask_recall) == (Rate(1, 2), Rate(1, 1))
    assert (found.none_precision, found.none_recall, found.false_none) == (Rate(1, 2), Rate(1, 1), Rate(1, 7))
    assert found.outcomes["call"] == {"call": 3, "ask": 1, "none": 1, "error": 1}
    assert (found.p50_ms, found.p95_ms) == (50, 90)
    assert [one.id for one in found.errors] == ["broken"]
    assert len(found.wrong) == 6
    with pytest.raises(ValueError, match="one prediction for each case"):
        score(cases, predictions[1:])


def test_the_interval_is_wilsons() -> None:
    """8 of 10 is Wilson's textbook example: 49.0 % to 94.3 %."""
    low, high = Rate(8, 10).interval or (0, 0)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    none_low, none_high = Rate(0, 10).interval or (1, 1)
    assert (none_low, none_high) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert Rate(0, 0).value is None
    assert Rate(0, 0).interval is None


def test_the_calibration_error_is_the_mean_gap_over_the_bins() -> None:
    right, wrong = case("a", Answer("none")), case("b", Answer("finish"))
    sure = [(right, Prediction("a", "none", confidence=0.95)), (wrong, Prediction("b", "none", confidence=0.95))]
    unsure = [(right, Prediction("a", "none", confidence=0.25)), (wrong, Prediction("b", "none", confidence=0.25))]
    # |0.95 - 0.5| and |0.25 - 0.5|, two cases each.
    assert calibration_error(reliability(sure + unsure)) == pytest.approx(0.35)
    assert calibration_error(reliability([(right, Prediction("a", "none", confidence=1.0))])) == 0.0
    assert calibration_error(reliability([(right, Prediction("a", "error"))])) is None


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 21)]
    assert (percentile(values, 50), percentile(values, 95), percentile(values, 100)) == (10, 19, 20)
    assert percentile([7.0], 95) == 7


def test_a_share_is_told_with_its_interval() -> None:
    assert Rate(60, 90).percent == "66.7 (56 to 76)"
    assert Rate(0, 0).percent == "0.0 (0 to 100)"
