"""The model is told what a person takes for granted, and nothing misleading."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_dualtune.agent.ambient import request_facts, server_facts, zone_name
from mcp_dualtune.config import ServerConfig


def server(*args: str, cwd: Path | None = None, transport: str = "stdio") -> ServerConfig:
    return ServerConfig("files", transport, command="x", args=args, cwd=cwd)  # type: ignore[arg-type]


def test_date_and_zone_are_given() -> None:
    facts = request_facts()
    datetime.fromisoformat(facts["today"])
    assert facts.keys() == {"today", "timezone"} and facts["timezone"]


def test_zone_is_that_of_the_time_asked_about() -> None:
    assert "UTC" in zone_name(datetime(2026, 3, 1, tzinfo=UTC))


def test_folders_of_the_command_line_are_the_roots(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert server_facts(server("--repository", str(tmp_path / "a"))) == {"root": str(tmp_path / "a")}
    both = server_facts(server(str(tmp_path / "a"), str(tmp_path / "b")))
    assert both == {"roots": f"{tmp_path / 'a'}, {tmp_path / 'b'}"}


def test_without_roots_the_working_folder_counts(tmp_path: Path) -> None:
    assert server_facts(server("--flag", "a\0b", cwd=tmp_path)) == {"cwd": str(tmp_path.resolve())}


@pytest.mark.parametrize("place", [Path("/"), Path.home()])
def test_folders_nobody_means_are_not_given(place: Path) -> None:
    assert server_facts(server(cwd=place)) == {}


def test_remote_server_learns_no_local_folder(tmp_path: Path) -> None:
    assert server_facts(server(str(tmp_path), transport="http")) == {}
