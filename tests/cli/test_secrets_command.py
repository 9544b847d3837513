"""`dualtune secrets`: entries of the keyring, and what the config refers to."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import keyring
import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from tests.config.keyrings import MemoryKeyring

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryKeyring:
    made = MemoryKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", made)
    return made


def test_a_secret_is_stored_from_standard_input_and_never_shown(
    memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hush hush\n"))
    assert main(["secrets", "set", "dualtune/work/git"]) == exits.DONE
    assert memory.entries == {("dualtune/work", "git"): "hush hush"}
    assert main(["secrets", "remove", "dualtune/work/git"]) == exits.DONE
    assert memory.entries == {}
    shown = capsys.readouterr()
    assert "${keyring:dualtune/work/git}" in shown.out and "hush" not in shown.out + shown.err


def test_the_references_of_the_config_are_listed_with_what_is_missing(
    tmp_path: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SET_ONE", "value of one")
    memory.set_password("a", "b", "value of two")
    env = {"ONE": "${env:SET_ONE}", "TWO": "${keyring:a/b}", "THREE": "${env:UNSET_ONE}", "FOUR": "${keyring:a/none}"}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"mcpServers": {"s": {"command": "x", "env": env}}}), encoding="utf-8")
    assert main(["secrets", "list", "--json", "--config", str(file)]) == exits.FAILED
    shown = capsys.readouterr().out
    states = [one["state"] for one in json.loads(shown)["references"]]
    assert states == ["found", "found", "missing", "missing"]
    assert "value of" not in shown


@pytest.mark.parametrize("words", [["set"], ["set", "no-slash"], ["set", "a/b"], ["remove", "/b"]])
def test_what_is_missing_is_said(
    words: list[str], memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["secrets", *words]) == exits.USAGE
    assert capsys.readouterr().err.startswith("dualtune: ") and memory.entries == {}
