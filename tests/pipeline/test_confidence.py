"""Probabilities are calibrated by the adapter's temperature."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mcp_dualtune.pipeline.confidence import adapter_name, calibrate, declined, joint, ranked
from mcp_dualtune.types import AdapterRef


def adapter(temperature: float) -> AdapterRef:
    return AdapterRef("select/git", Path("x"), "0" * 64, temperature)


def test_base_probabilities_are_those_of_the_model() -> None:
    assert calibrate([math.log(0.7), math.log(0.3)], None) == pytest.approx((0.7, 0.3))


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_or_softens_and_keeps_order_and_sum(temperature: float) -> None:
    found = calibrate([math.log(0.7), math.log(0.2), math.log(0.1)], adapter(temperature))
    assert sum(found) == pytest.approx(1.0) and found[0] > found[1] > found[2]
    assert (found[0] > 0.7) == (temperature < 1)


def test_impossible_option_gets_nothing() -> None:
    assert calibrate([0.0, -math.inf], None) == (1.0, 0.0)


def test_joint_probability_is_a_product_under_the_temperature() -> None:
    assert joint([0.5, 0.5], None) == pytest.approx(0.25)
    assert joint([0.5, 0.5], adapter(2.0)) == pytest.approx(0.5)
    assert joint([], None) == 1.0 and joint([0.9, 0.0], None) == 0.0


def test_equal_options_keep_the_order_offered() -> None:
    assert [name for name, _ in ranked(["b", "a", "c"], [0.4, 0.4, 0.2])] == ["b", "a", "c"]


def test_none_leads_only_when_it_is_much_likelier_than_all_options_together() -> None:
    assert ranked(["a", "b", "none"], [0.3, 0.25, 0.45])[0] == ("a", 0.3)
    assert ranked(["a", "b", "none"], [0.2, 0.15, 0.65])[0] == ("a", 0.2)
    assert ranked(["a", "b", "none"], [0.1, 0.1, 0.8])[0] == ("none", 0.8)
    assert ranked(["none"], [0.4]) == [("none", 0.4)]


def test_stage_without_adapter_names_the_base() -> None:
    assert (adapter_name(None), adapter_name(adapter(1.0))) == ("base", "select/git")


@pytest.mark.parametrize(
    ("nothing", "limit", "name", "expected"),
    [(0.4, None, "route", True), (0.2, None, "route", False), (0.4, None, "base", False), (0.4, 0.3, "base", True)],
)
def test_nothing_is_declined_above_the_limit_and_by_default_only_where_it_is_calibrated(
    nothing: float, limit: float | None, name: str, expected: bool
) -> None:
    assert declined(nothing, limit, name) == expected
