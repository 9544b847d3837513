"""Times of day as people say them become HH:MM; other numbers stay what they are."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.pipeline.clock import clock_facts

TAKES_TIME = {"properties": {"time": {"type": "string", "description": "Time to convert in 24-hour format (HH:MM)"}}}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("at 9:15 in Paris", "09:15"), ("7pm", "19:00"), ("8 a.m. sharp", "08:00"), ("12 pm", "12:00"),
        ("12am", "00:00"),
        ("half past nine", "09:30"), ("half nine in the morning", "09:30"), ("quarter to six in the evening", "17:45"),
        ("a quarter past 3 pm", "15:15"), ("ten to five in the afternoon", "16:50"), ("twenty-five past 8", "08:25"),
        ("twenty past 3 this afternoon", "15:20"), ("noon", "12:00"), ("at midnight", "00:00"), ("14h30", "14:30"),
        ("1430 hrs", "14:30"), ("seven in the morning", "07:00"), ("11 at night", "23:00"), ("3 at night", "03:00"),
        ("meet at 5 o'clock", "05:00"), ("9.30 am", "09:30"), ("half twelve", "12:30"),
    ],
)  # fmt: skip
def test_a_time_is_understood(text: str, time: str) -> None:
    assert list(clock_facts(text, TAKES_TIME).values()) == [time]


@pytest.mark.parametrize("text", [
    "at 14:30", "3 files", "one or two", "pay 12.75", "half of them", "call 555-1234",
    "on 3 March 2026", "Sept. 4th, 2015",
])  # fmt: skip
def test_what_is_no_time_or_written_already_gives_no_fact(text: str) -> None:
    assert clock_facts(text, TAKES_TIME) == {}


def test_several_times_keep_their_words_and_order() -> None:
    facts = clock_facts("from 7 pm to half past eight in the evening", TAKES_TIME)
    assert facts == {"7 pm": "19:00", "half past eight in the evening": "20:30"}


@pytest.mark.parametrize("part", [{"type": "string", "description": "Name"}, {"type": "integer"}, True, {}])
def test_only_tools_that_take_a_time_get_facts(part: Any) -> None:
    assert clock_facts("at 7pm", {"properties": {"time": part}}) == {}


def test_a_time_format_is_enough() -> None:
    assert clock_facts("at 7pm", {"properties": {"at": {"type": "string", "format": "time"}}}) == {"7pm": "19:00"}
