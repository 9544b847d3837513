"""The command line: what is refused, how, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import COMMANDS, main

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", ["", *(name for name in COMMANDS if name not in ("evaluate", "train"))])
def test_help_tells_the_exit_codes(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        main([word for word in (command, "--help") if word])
    assert stop.value.code == 0
    assert exits.MEANINGS in capsys.readouterr().out


def test_no_command_shows_the_help(capsys: Captured) -> None:
    assert main([]) == exits.USAGE
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("words", [["fly"], ["plan"], ["plan", "x", "--fast"], ["do", "x", "--max-steps", "0"]])
def test_a_wrong_command_line_is_one_message_and_a_hint(words: list[str], capsys: Captured) -> None:
    assert main(words) == exits.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    message, hint = shown.err.splitlines()
    assert message.startswith("dualtune: ") and hint.startswith("  See `dualtune")


def test_with_json_an_error_is_one_document_on_stdout(tmp_path: Path, capsys: Captured) -> None:
    missing = tmp_path / "nowhere.json"
    assert main(["plan", "hello", "--json", "--config", str(missing)]) == exits.USAGE
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert error["type"] == "ConfigError" and str(missing) in error["message"] and error["hint"]
    assert shown.err == ""


def test_a_broken_config_is_told_with_its_place(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"mcpServers": {}, "dualtune": {"limitz": {}}}', encoding="utf-8")
    assert main(["tools", "--config", str(file)]) == exits.USAGE
    assert "limitz" in capsys.readouterr().err


def test_no_server_at_all_is_told_with_the_remedy(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"mcpServers": {}}', encoding="utf-8")
    assert main(["plan", "hello", "--config", str(file)]) == exits.USAGE
    assert "mcpServers" in capsys.readouterr().err


def test_an_unexpected_error_shows_no_traceback_unasked(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(args: object) -> int:
        raise ExceptionGroup("tasks", [ZeroDivisionError("three")])

    monkeypatch.setattr("mcp_dualtune.cli.tools.run", explode)
    assert main(["tools"]) == exits.FAILED
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: three" in shown and "Traceback" not in shown
    assert main(["tools", "--verbose"]) == exits.FAILED
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("mcp_dualtune.cli.tools.run", interrupt)
    assert main(["tools"]) == exits.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err
