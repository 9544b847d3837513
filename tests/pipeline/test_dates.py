"""Dates as people say them, written as a tool wants them; what is no date gives no fact."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.pipeline.dates import date_facts

TODAY = "2026-11-30"  # a Monday


def schema(**part: Any) -> dict[str, Any]:
    return {"properties": {"due": {"type": "string", **part}}}


DAY = schema(format="date")


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("the 12th of May 2026", "2026-05-12"), ("Tuesday, 12 May 2026", "2026-05-12"),
        ("May 12th, 2026", "2026-05-12"),
        ("due 12.05.2026", "2026-05-12"), ("by 25/12/2026", "2026-12-25"), ("12/25/2026", "2026-12-25"),
        ("on 2026/05/12", "2026-05-12"), ("1 Sept 1871", "1871-09-01"), ("until Feb 3 2027", "2027-02-03"),
        ("tomorrow", "2026-12-01"), ("the day after tomorrow", "2026-12-02"), ("yesterday", "2026-11-29"),
        ("next Friday", "2026-12-04"), ("last monday", "2026-11-23"), ("on Monday", "2026-12-07"),
        ("in two weeks", "2026-12-14"), ("3 days ago", "2026-11-27"), ("5 May", "2027-05-05"), ("Oct 2", "2026-10-02"),
    ],
)  # fmt: skip
def test_a_day_is_understood(text: str, day: str) -> None:
    assert list(date_facts(f"remind me {text}.", DAY, TODAY).values()) == [day]


@pytest.mark.parametrize(
    "text",
    [
        "on 2026-05-12",
        "3/4/2026",
        "31 February 2026",
        "I may 5 times",
        "march 3 miles",
        "version 1.2.2026.4",
        "in 3 files",
    ],
)
def test_what_is_no_day_or_not_clear_or_written_already_gives_no_fact(text: str) -> None:
    assert date_facts(text, DAY, TODAY) == {}


def test_relative_days_need_to_know_today() -> None:
    assert date_facts("tomorrow or 5 May", DAY) == {}
    assert date_facts("tomorrow", DAY, "no date") == {}


@pytest.mark.parametrize(
    ("part", "written"),
    [
        ({"format": "date"}, "2026-05-12"), ({"format": "date-time"}, "2026-05-12T21:15:00Z"),
        ({"description": "ISO 8601 timestamp"}, "2026-05-12T21:15:00"),
        ({"description": "Day (ISO date)"}, "2026-05-12"),
        ({"description": "Local time", "format": "date-time"}, "2026-05-12T21:15:00"),
        ({"description": "as DD/MM/YYYY"}, "12/05/2026"), ({"description": "YYYYMMDD"}, "20260512"),
        ({"description": "yyyy-mm-dd hh:mm:ss"}, "2026-05-12 21:15:00"),
        ({"description": "YYYY-MM-DDTHH:MM"}, "2026-05-12T21:15"),
        ({"description": "e.g. 2024-01-15T14:30:25Z"}, "2026-05-12T21:15:00Z"),
        ({"description": "in '%Y-%m-%d %H:%M:%S' format"}, "2026-05-12 21:15:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["12 May 2026 at 9:15 pm", "quarter past nine in the evening on May 12, 2026"])
def test_it_is_written_as_the_parameter_wants_it(part: dict[str, Any], written: str, text: str) -> None:
    assert date_facts(text, schema(**part)) == {text: written}


@pytest.mark.parametrize("text", ["noon UTC on 3 June 2026", "3 June 2026, noon UTC"])
def test_utc_is_kept(text: str) -> None:
    assert date_facts(text, schema(description="ISO 8601")) == {text: "2026-06-03T12:00:00Z"}


def test_several_dates_keep_their_words_and_order_up_to_a_limit() -> None:
    text = "from 3 June 2026 to 5 June 2026"
    assert date_facts(text, DAY) == {"3 June 2026": "2026-06-03", "5 June 2026": "2026-06-05"}
    assert len(date_facts(", ".join(f"{day} June 2026" for day in range(1, 10)), DAY)) == 4


def test_months_are_for_parameters_that_take_months() -> None:
    assert date_facts("in June 2026", schema(description="Month, YYYY-MM")) == {"June 2026": "2026-06"}
    assert date_facts("in June 2026", DAY) == {}


@pytest.mark.parametrize("part", [{"description": "Date of the visit"}, {"type": "integer", "format": "date"}])
def test_only_parameters_that_say_how_get_facts(part: dict[str, Any]) -> None:
    assert date_facts("on 3 June 2026", schema(**part)) == {}


def test_dates_inside_lists_objects_and_unions_count() -> None:
    inner = {
        "type": "array",
        "items": {"type": "object", "properties": {"on": {"anyOf": [{"type": "string", "format": "date"}]}}},
    }
    assert date_facts("on 3 June 2026", {"properties": {"visits": inner}}) == {"3 June 2026": "2026-06-03"}
    assert date_facts("on 3 June 2026", {"properties": {"odd": True}}) == {}
