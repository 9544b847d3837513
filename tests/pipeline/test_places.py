"""Places become facts with their zones, for tools that take a zone."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import pytest

from mcp_dualtune.pipeline.places import spoken_names, zone_facts

CLOCK = {"properties": {"timezone": {"type": "string", "description": "IANA timezone name"}}}
MEETING = {"properties": {"start": {}, "tz": {"type": "string"}}}
FILE = {"properties": {"path": {"type": "string", "description": "File to read"}}}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("what time is it in Mumbai", {"Mumbai": "Asia/Kolkata"}),
        ("15:00 new york to São Paulo?", {"new york": "America/New_York", "São Paulo": "America/Sao_Paulo"}),
        (
            "clock in Buenos Aires and LA",
            {"Buenos Aires": "America/Argentina/Buenos_Aires", "LA": "America/Los_Angeles"},
        ),
        ("Ho Chi Minh City's time", {"Ho Chi Minh": "Asia/Ho_Chi_Minh"}),
        ("is it late over there? la la la", {}),
        ("utc now", {"utc": "UTC"}),
        ("UTC now", {"UTC": "UTC"}),
    ],
)
def test_places_in_a_request(text: str, facts: dict[str, str]) -> None:
    assert zone_facts(text, CLOCK) == facts


@pytest.mark.parametrize(("schema", "wanted"), [(CLOCK, True), (MEETING, True), (FILE, False), ({}, False)])
def test_only_tools_that_take_a_zone_get_them(schema: dict[str, Any], wanted: bool) -> None:
    assert bool(zone_facts("in Tokyo", schema)) is wanted


def test_every_zone_exists() -> None:
    assert set(spoken_names()) <= available_timezones()
