"""Lengths of time in the unit of a parameter; ordinals and lengths in that unit already give no fact."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.pipeline.durations import duration_facts

MINUTES = {"properties": {"duration_minutes": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("for half an hour", {"half an hour": "30"}), ("a quarter of an hour", {"a quarter of an hour": "15"}),
        ("two hours please", {"two hours": "120"}), ("an hour and a half", {"an hour and a half": "90"}),
        ("one and a half hours", {"one and a half hours": "90"}), ("1.5 hours", {"1.5 hours": "90"}),
        ("2h then 180s", {"2h": "120", "180s": "3"}), ("a day before", {"a day": "1440"}),
        ("90 minutes", {}), ("45 secs", {}), ("the second one", {}), ("some hours", {}), ("3 files", {}),
    ],
)  # fmt: skip
def test_lengths_of_time_in_minutes(text: str, fact: dict[str, str]) -> None:
    assert duration_facts(text, MINUTES) == fact


def test_the_unit_may_stand_in_the_description_and_several_are_told_apart() -> None:
    timeout = {"type": "integer", "description": "Timeout in milliseconds"}
    assert duration_facts("wait two seconds", {"properties": {"timeout": timeout}}) == {"two seconds": "2000"}
    both = {"properties": {"timeout": timeout, "retry_minutes": {"type": "number"}}}
    assert duration_facts("an hour", both) == {"an hour in milliseconds": "3600000", "an hour in minutes": "60"}


@pytest.mark.parametrize("part", [{"type": "string", "description": "minutes"}, {"type": "integer"}, True])
def test_only_numbers_with_a_unit_get_facts(part: Any) -> None:
    assert duration_facts("two hours", {"properties": {"length": part}}) == {}
