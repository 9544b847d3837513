"""Corrections are kept in a file of the user's, one for a request, and read back as far as they still fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering.corrections import GONE, corrections, remember
from mcp_dualtune.training.gathering.gathered import Sourced
from mcp_dualtune.training.synthesis.own_examples import OwnExample, read_examples
from tests.training.invented_servers import invented

SERVERS = (invented("helpdesk"), invented("shop"))
CLOSE = OwnExample("shut SUP-77", "helpdesk", "close_ticket", {"ticket_key": "SUP-77"})


def correct(file: Path, example: OwnExample) -> int:
    return remember(file, [Sourced(example, "correction")])


def test_what_is_kept_is_read_by_both_readers(tmp_path: Path) -> None:
    file = tmp_path / "data" / "examples.jsonl"
    assert not correct(file, CLOSE)
    assert not correct(file, OwnExample("where is my parcel", "shop", "getOrderStatus"))
    assert file.stat().st_mode & 0o077 == 0
    found = corrections(file, SERVERS)
    assert [one.source for one in found.examples] == ["correction", "correction"]
    assert [one.example for one in found.examples] == read_examples(file, SERVERS)
    assert found.counts("helpdesk") == {"correction": 1}


def test_a_later_correction_of_the_same_request_takes_its_place_and_nothing_else_changes(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    other = '{"request": "who is on duty?", "tool": "list_agents", "server": "helpdesk"}'
    file.write_text(f"// mine\n{other}\n", encoding="utf-8")
    correct(file, CLOSE)
    assert correct(file, OwnExample(CLOSE.request, "helpdesk", "get_ticket", {"ticket_key": "SUP-77"}))
    lines = file.read_text("utf-8").splitlines()
    assert lines[:2] == ["// mine", other]
    assert [json.loads(line)["tool"] for line in lines[2:]] == ["get_ticket"]


def test_what_training_was_given_is_marked_and_takes_the_place_of_what_was_said_before(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    correct(file, CLOSE)
    own = [Sourced(CLOSE, "own"), Sourced(OwnExample("anything for me?", "helpdesk", "list_tickets", {}), "own")]
    assert remember(file, own) == 1
    assert remember(file, own) == 2
    found = corrections(file, SERVERS)
    assert found.examples == tuple(own)
    assert read_examples(file, SERVERS) == [one.example for one in own]


def test_corrections_of_other_servers_are_not_looked_at_and_old_ones_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    correct(file, CLOSE)
    correct(file, OwnExample("old", "helpdesk", "a_tool_that_was"))
    correct(file, OwnExample("mail it", "mail", "send"))
    file.write_text(file.read_text("utf-8") + "{broken\n", encoding="utf-8")
    found = corrections(file, SERVERS)
    assert [one.example for one in found.examples] == [CLOSE]
    assert found.left_out == {GONE: 2}


def test_no_file_means_no_corrections(tmp_path: Path) -> None:
    assert corrections(tmp_path / "none.jsonl", SERVERS).examples == ()


def test_a_file_that_cannot_be_used_is_an_error_with_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError) as caught:
        corrections(file, SERVERS)
    assert caught.value.hint
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(TrainingError, match="Cannot write"):
        correct(tmp_path / "taken" / "examples.jsonl", CLOSE)
