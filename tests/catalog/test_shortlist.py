"""Which tools a request brings to the top of a large catalog."""

from __future__ import annotations

import math
import sys

import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.catalog.shortlist import rank_tools, shortlist
from mcp_dualtune.types import ServerSpec


def server(name: str, **tools: str) -> ServerSpec:
    return build_server(name, "", [{"name": tool, "description": words} for tool, words in tools.items()]).spec


def params(name: str, *parameters: str) -> ServerSpec:
    schema = {"type": "object", "properties": {parameter: {"type": "string"} for parameter in parameters}}
    return build_server(name, "", [{"name": f"{name}_tool", "inputSchema": schema}]).spec


SERVERS = (
    server("git", git_log="Show commit history", git_status="Show what is changed", git_commit="Record changes"),
    server("files", readTextFile="Get contents", searchFiles="Find by pattern", moveFile="Rename"),
    server("time", get_current_time="Current time in a timezone", convert_time="Convert between timezones"),
    params("weather", "city", "forecast_days"),
)  # fmt: skip


def names(text: str, limit: int = 3) -> list[str]:
    return [tool.name for tool, _ in rank_tools(text, SERVERS, limit)]


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("show me the commit history", "git_log"),
        ("read the text of this file", "readTextFile"),
        ("searching for some files", "searchFiles"),
        ("convert 3pm to another timezone", "convert_time"),
        ("a forecast for the city of Bern", "weather_tool"),
    ],
)
def test_names_in_pieces_descriptions_and_parameters_all_count(text: str, best: str) -> None:
    assert names(text)[0] == best


def test_a_tool_named_exactly_comes_first() -> None:
    (first, score), *_ = rank_tools("show the commit history with git_status, commit history I say", SERVERS, 5)
    assert (first.name, score) == ("git_status", math.inf)


def test_nothing_in_common_ranks_nothing() -> None:
    assert rank_tools("xyzzy", SERVERS, 5) == ()
    assert rank_tools("", SERVERS, 5) == ()
    assert rank_tools("time", (), 5) == ()
    assert rank_tools("time", SERVERS, 0) == ()


def test_equal_tools_keep_the_order_of_the_catalog() -> None:
    twins = tuple(server(name, twin="the same words") for name in ("bb", "aa", "cc"))
    assert [tool.server for tool, _ in rank_tools("same words", twins, 3)] == ["bb", "aa", "cc"]


def test_a_small_catalog_is_left_whole() -> None:
    assert shortlist("time", SERVERS, 9) == SERVERS


def test_a_short_list_keeps_order_and_budget() -> None:
    cut = shortlist("convert the time, then commit, and git_log please", SERVERS, 4)
    kept = [(spec.name, [tool.name for tool in spec.tools]) for spec in cut]
    assert kept == [("git", ["git_log", "git_commit"]), ("time", ["get_current_time", "convert_time"])]
    # A server that keeps all its tools is the very same record, so that prompts made from it can be reused.
    assert cut[1] is SERVERS[2]


def test_places_left_over_are_filled_in_order() -> None:
    cut = shortlist("xyzzy", SERVERS, 2)
    assert [tool.name for spec in cut for tool in spec.tools] == ["git_log", "git_status"]


def test_ranking_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert rank_tools("current time of day", (server("clock", now="Current time of the day"),), 1)
    sys.stdout.flush()
    assert capfd.readouterr() == ("", "")
