"""`dualtune install` and `dualtune import` as a person or a program runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.install import NAMES, command, config_words
from mcp_dualtune.cli.main import main
from mcp_dualtune.clients.table import CLIENTS
from mcp_dualtune.errors import ConfigError

Captured = pytest.CaptureFixture[str]
CURSOR = """{
  // mine
  "mcpServers": {
    "git": {"command": "mcp-server-git", "env": {"TOKEN": "hush-hush-1"}, "args": ["--api-key", "hush-hush-2", "-q"]},
    "web": {"url": "https://h/p", "headers": {"Authorization": "Bearer hush-hush-3"}}
  }
}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home on this very system, with Cursor used and one config of ours."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text(CURSOR, encoding="utf-8")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def run(capsys: Captured, *words: str) -> tuple[int, Any]:
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_clients_of_the_help_are_those_of_the_table() -> None:
    assert tuple(CLIENTS) == NAMES


def test_a_client_gets_an_absolute_command_that_works_and_the_config(home: Path, capsys: Captured) -> None:
    (home / "mcp.json").write_text("{}", encoding="utf-8")
    code, told = run(capsys, "install", "--client", "cursor", "--config", "../mcp.json")
    assert code == exits.DONE
    file = home / ".cursor" / "mcp.json"
    (one,) = told["clients"]
    assert (one["client"], one["action"], one["file"]) == ("cursor", "changed", str(file))
    assert Path(one["backup"]).read_text(encoding="utf-8") == CURSOR
    entry = json.loads(file.read_text(encoding="utf-8").replace("// mine", ""))["mcpServers"]["dualtune"]
    assert Path(entry["command"]).is_absolute() and entry["args"][-2] == "--config"
    assert Path(entry["args"][-1]).samefile(home / "mcp.json")
    # Hosts start programs with a bare environment, somewhere.
    words = [entry["command"], *entry["args"][: entry["args"].index("serve")], "--version"]
    done = subprocess.run(words, cwd="/", env={"PATH": "/usr/bin"}, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("mcp-dualtune "), done.stderr
    assert (
        run(capsys, "install", "--client", "cursor", "--config", "../mcp.json")[1]["clients"][0]["action"]
        == "unchanged"
    )
    code, told = run(capsys, "install", "--client", "cursor", "--undo")
    assert (code, told["clients"][0]["action"]) == (exits.DONE, "restored")
    assert file.read_text(encoding="utf-8") == CURSOR
    assert run(capsys, "install", "--client", "cursor", "--undo")[1]["clients"][0]["action"] == "absent"


def test_a_dry_run_shows_a_diff_without_secrets_and_writes_nothing(home: Path, capsys: Captured) -> None:
    assert main(["install", "--client", "cursor", "--dry-run"]) == exits.DONE
    shown = capsys.readouterr().out
    file = home / ".cursor" / "mcp.json"
    assert shown.startswith(f"--- {file}\n+++ {file}\n@@ ")
    assert '+    "dualtune": {' in shown and "mcp-server-git" in shown
    assert "hush" not in shown
    assert file.read_text(encoding="utf-8") == CURSOR
    assert [entry.name for entry in file.parent.iterdir()] == ["mcp.json"]


def test_all_means_the_clients_found_and_goes_on_after_a_broken_one(home: Path, capsys: Captured) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text("[", encoding="utf-8")
    (home / ".gemini").mkdir()
    code, told = run(capsys, "install", "--all")
    assert code == exits.USAGE
    assert {one["client"]: one["action"] for one in told["clients"]} == {
        "cursor": "changed", "gemini-cli": "added", "codex": "failed",
    }  # fmt: skip
    assert "line 1" in told["clients"][-1]["error"]
    assert main(["install", "--all", "--undo"]) == exits.USAGE
    said = capsys.readouterr().err
    assert "Cursor: taken out of" in said and "Codex: " in said


def test_a_project_gets_its_own_file(home: Path, capsys: Captured) -> None:
    _, told = run(capsys, "install", "--client", "claude-code", "--client", "vscode", "--scope", "project")
    assert [Path(one["file"]).relative_to(home / "project") for one in told["clients"]] == [
        Path(".mcp.json"),
        Path(".vscode/mcp.json"),
    ]
    assert json.loads((home / "project" / ".vscode" / "mcp.json").read_text())["servers"]["dualtune"]["type"] == "stdio"
    assert main(["install", "--client", "windsurf", "--scope", "project"]) == exits.USAGE
    assert "no config for one project" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install"], "One of the arguments --client --all is required"),
        (["install", "--client", "emacs"], "invalid choice"),
        (["install", "--client", "cursor", "--config", "gone.json"], "There is no config"),
        (["import", "gone.json"], "There is no file"),
        (["import", "x.json", "--client", "cursor"], "Both a file and a client"),
        (["import", "--client", "zed"], "No config of a client was found in zed"),
        (["import", "../.cursor/mcp.json", "--config", "../.cursor/mcp.json"], "is the config itself"),
    ],
)
def test_wrong_usage_is_told_with_the_remedy(words: list[str], said: str, home: Path, capsys: Captured) -> None:
    assert main(words) == exits.USAGE
    assert said in capsys.readouterr().err


def test_the_command_is_the_script_beside_the_interpreter_or_the_module(tmp_path: Path) -> None:
    assert command(tmp_path / "python") == [str(tmp_path / "python"), "-m", "mcp_dualtune"]
    (tmp_path / "dualtune").touch()
    assert command(tmp_path / "python") == [str(tmp_path / "dualtune")]
    with pytest.raises(ConfigError, match="lies in a cache"):
        command(tmp_path / "archive-v0" / "x" / "bin" / "python")


def test_the_config_of_the_variable_is_passed_on_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_words(None) == []
    monkeypatch.setenv("DUALTUNE_CONFIG", str(home / ".cursor" / "mcp.json"))
    assert config_words(None) == ["--config", str(home / ".cursor" / "mcp.json")]


def test_import_takes_what_the_clients_have_and_moves_it_when_asked(home: Path, capsys: Captured) -> None:
    config = home / "ours" / "config.json"
    words = ["import", "--config", str(config)]
    assert main([*words, "--dry-run", "--remove-from-client"]) == exits.DONE
    shown = capsys.readouterr()
    assert "--- /dev/null" in shown.out and "hush" not in shown.out + shown.err
    assert "cursor: git: taken" in shown.err
    assert not config.exists()
    code, told = run(capsys, *words)
    assert code == exits.DONE
    assert [(one["from"], one["name"], one["action"]) for one in told["servers"]] == [
        ("cursor", "git", "added"),
        ("cursor", "web", "added"),
    ]
    servers = json.loads(config.read_text(encoding="utf-8"))["mcpServers"]
    assert servers["git"]["env"] == {"TOKEN": "hush-hush-1"}
    assert servers["web"]["url"] == "https://h/p"
    assert run(capsys, *words)[1]["changed"] == []
    file = home / ".cursor" / "mcp.json"
    assert run(capsys, *words, "--remove-from-client")[1]["changed"] == [str(file)]
    assert "git" not in file.read_text(encoding="utf-8") and "// mine" in file.read_text(encoding="utf-8")


def test_claude_codes_servers_of_one_folder_come_with_the_project(home: Path, capsys: Captured) -> None:
    project = str(Path.cwd())
    private = {"projects": {project: {"mcpServers": {"a": {"command": "x"}}}, "/other": {"mcpServers": {"b": {}}}}}
    (home / ".claude.json").write_text(json.dumps(private), encoding="utf-8")
    Path(".mcp.json").write_text('{"mcpServers": {"c": {"command": "./y"}}}', encoding="utf-8")
    words = ["import", "--client", "claude-code", "--scope", "project", "--config", str(home / "c.json")]
    _, told = run(capsys, *words, "--remove-from-client")
    assert [(one["name"], one["action"]) for one in told["servers"]] == [("c", "added"), ("a", "added")]
    servers = json.loads((home / "c.json").read_text(encoding="utf-8"))["mcpServers"]
    assert servers == {"c": {"command": "./y", "cwd": project}, "a": {"command": "x", "cwd": project}}
    left = json.loads((home / ".claude.json").read_text(encoding="utf-8"))["projects"]
    assert left == {project: {"mcpServers": {}}, "/other": {"mcpServers": {"b": {}}}}


def test_the_program_runs_as_a_module_too(home: Path) -> None:
    words = [sys.executable, "-m", "mcp_dualtune", "install", "--client", "zed", "--dry-run"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "context_servers" in done.stdout
