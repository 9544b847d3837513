"""The user's own requests: which are compared, when a changed file is noticed, and that one decides what follows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from threading import Event

import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import Settings, TrainingSettings
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.pipeline.exemplars import MOST, Exemplars
from mcp_dualtune.types import Request

SCHEMA = {"type": "object", "properties": {}}
TOOLS = [
    {"name": "close_ticket", "description": "Closes a ticket.", "inputSchema": SCHEMA},
    {"name": "list_tickets", "description": "Lists the open tickets.", "inputSchema": SCHEMA},
]
DESK = build_server("desk", "A help desk.", TOOLS).spec
LAMP = build_server("lamp", "A lamp.", [{"name": "switch", "description": "On or off.", "inputSchema": SCHEMA}]).spec


def row(request: str, tool: str, server: str | None = "desk") -> str:
    return json.dumps({"request": request, "tool": tool, "server": server})


def test_requests_are_known_by_server_and_tool_as_far_as_the_tools_are_there(tmp_path: Path) -> None:
    lines = [
        "// mine", row("shut it", "close_ticket"), "", "{broken", "[1]", row("whose is it?", "none"), row("x", "gone"),
        row("dark, please", "switch", "lamp"), row("all", "list_tickets", None), '{"tool": "list_tickets"}',
        row("  ", "close_ticket"), row("shut that", "close_ticket"),
    ]  # fmt: skip
    (tmp_path / "examples.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = Exemplars(tmp_path / "examples.jsonl")
    assert found.of_tools(DESK) == {"close_ticket": ["shut it", "shut that"], "none": ["whose is it?"]}
    # What no tool of a server serves may well be another server's.
    assert found.of_servers([DESK, LAMP]) == {"desk": ["shut it", "shut that"], "lamp": ["dark, please"]}
    found.leave_out(["shut it ", "whose is it?"])
    assert found.of_servers([DESK, LAMP]) == {"desk": ["shut that"], "lamp": ["dark, please"]}


def test_of_many_requests_to_a_tool_the_latest_are_compared() -> None:
    found = Exemplars()
    assert not found
    found.tell(("desk", "close_ticket", str(number)) for number in range(MOST + 5))
    assert found
    assert found.of_tools(DESK)["close_ticket"] == [*map(str, range(5, MOST + 5))]


def test_a_changed_file_is_noticed_and_an_unreadable_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "examples.jsonl"
    found = Exemplars(file)
    assert not found and not found.refresh()
    file.write_text(row("shut it", "close_ticket"), encoding="utf-8")
    assert found.refresh() and not found.refresh()
    assert found.of_tools(DESK) == {"close_ticket": ["shut it"]}
    file.write_bytes(b"\xff\xfe\x00")
    with caplog.at_level(logging.WARNING):
        assert found.refresh() and not found.refresh(closely=True)
    assert [record.message[:12] for record in caplog.records] == ["The examples"]
    assert found.of_tools(DESK) == {"close_ticket": ["shut it"]}
    file.unlink()
    assert found.refresh() and not found


def test_a_correction_counts_from_the_next_request_on(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    pipeline = load_pipeline(Settings(training=TrainingSettings(examples=file)))
    catalog, said = Catalog((DESK, LAMP)), "the printer business is through now"
    for server, tool in (("desk", "list_tickets"), ("lamp", "switch"), ("desk", "close_ticket")):
        file.write_text(row("the printer business is through", tool, server), encoding="utf-8")
        decision = pipeline.decide(Request(said), catalog, Event())
        assert (decision.server, decision.tool) == (server, tool)
