"""`dualtune correct`: past requests are listed, and what would have been right is checked and kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.cli.main import main
from mcp_dualtune.config import examples_path
from tests.tracing.test_past import record

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """`correct` with a config whose trace lies beside it, and a catalog."""
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"text": text, "list": text}, "required": ["text"]}
    notes = [{"name": "add", "inputSchema": schema}, {"name": "clear", "inputSchema": {"type": "object"}}]
    servers = [{"name": "notes", "tools": notes}, {"name": "mail", "tools": [{"name": "send", "inputSchema": schema}]}]
    (tmp_path / "catalog.json").write_text(json.dumps({"servers": servers}))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"dualtune": {"trace": {"file": "trace.jsonl"}}}))
    return ["correct", "--config", str(config), "--catalog", str(tmp_path / "catalog.json")]


def kept() -> list[Any]:
    path = examples_path()
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_the_latest_requests_are_listed_with_their_ids(words: list[str], tmp_path: Path, capsys: Captured) -> None:
    names = [record(tmp_path / "trace.jsonl", f"note {number}") for number in range(12)]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["requests"]
    assert [row["id"] for row in rows] == names[:1:-1]
    assert rows[0]["decided"] == "notes/add"
    assert main(words) == 0
    assert names[-1] in capsys.readouterr().out


def test_the_last_decision_is_corrected_and_kept_in_the_users_data(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    record(tmp_path / "trace.jsonl", "put bread on the list food")
    right = {"text": "bread", "list": "food"}
    assert main([*words, "LAST", "--arguments", json.dumps(right), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    row = {"request": "put bread on the list food", "server": "notes", "tool": "add", "arguments": right}
    assert said == {"example": row, "missing": [], "replaced": False, "file": str(examples_path())}
    assert kept() == [row]


def test_an_id_or_its_beginning_names_a_request_and_a_second_correction_replaces_the_first(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    first = record(tmp_path / "trace.jsonl", "empty it")
    record(tmp_path / "trace.jsonl", "another")
    assert main([*words, first[:8], "--tool", "add"]) == 0
    assert main([*words, first, "--tool", "clear"]) == 0
    assert "in the place of" in capsys.readouterr().out
    assert [(row["request"], row["tool"], row["arguments"]) for row in kept()] == [("empty it", "clear", {})]


def test_what_the_request_leaves_out_should_have_been_asked_for(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    record(tmp_path / "trace.jsonl", "mail somebody")
    assert main([*words, "LAST", "--server", "mail", "--tool", "send", "--arguments", "{}"]) == 0
    assert "leaves out text" in capsys.readouterr().out


def test_none_is_a_right_answer_too(words: list[str], tmp_path: Path) -> None:
    record(tmp_path / "trace.jsonl", "fly to the moon")
    assert main([*words, "LAST", "--tool", "none"]) == 0
    assert [(row["server"], row["tool"]) for row in kept()] == [("notes", "none")]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["LAST"], "Nothing says what would have been right"),
        (["LAST", "--arguments", "{"], "not JSON"),
        (["LAST", "--arguments", '{"text": 7}'], "do not fit"),
        (["LAST", "--arguments", "[]"], "not a JSON object"),
        (["LAST", "--tool", "ad"], "no server has a tool `ad`"),
        (["LAST", "--tool", "send", "--server", "notes"], "has no tool `send`"),
        (["LAST", "--server", "note"], "there is no server `note`"),
        (["abcdefgh", "--tool", "add"], "that of no request"),
        (["", "--tool", "add"], "that of no request"),
        (["LAST", "--arguments", '{"text": "[secret]"}'], "masked secret"),
        (["LAST", "--request", "say [secret]", "--tool", "add"], "held a secret"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(
    more: list[str], problem: str, words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    record(tmp_path / "trace.jsonl")
    assert main([*words, *more, "--json"]) == 2
    assert problem in json.loads(capsys.readouterr().out)["error"]["message"]
    assert kept() == []


def test_without_a_trace_it_says_how_to_have_one(words: list[str], tmp_path: Path, capsys: Captured) -> None:
    assert main([*words, "--json"]) == 2
    assert "no decision" in json.loads(capsys.readouterr().out)["error"]["message"]
    (tmp_path / "config.json").write_text("{}")
    assert main([*words, "--json"]) == 2
    assert "dualtune.trace.file" in json.loads(capsys.readouterr().out)["error"]["hint"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_what_no_option_says_is_asked(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "trace.jsonl", "note milk for tea")
    said = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal('\n\n{"text": "milk for tea"}\n'))
    monkeypatch.setattr("sys.stderr", said)
    assert main([*words, "LAST"]) == 0
    assert kept()[0]["arguments"] == {"text": "milk for tea"}
    assert "note milk for tea" in said.getvalue() and "tool, or none (add, clear) [add]" in said.getvalue()
