"""`dualtune adapters` on the embedded models' own adapters and on some of the user's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from mcp_dualtune.models import ENCODER_DIGEST, embedded_model
from tests.tiny_models import small_adapter

pytestmark = pytest.mark.timeout(300)
Captured = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
NOTES = ROOT / "examples" / "servers" / "notes.py"


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    monkeypatch.setenv("DUALTUNE_ADAPTERS", str(folder))
    return folder


def asked(capsys: Captured, *words: str | Path, code: int = exits.DONE) -> Any:
    """What `adapters ... --json` prints."""
    assert main(["adapters", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def states(capsys: Captured, name: str, *words: str | Path) -> list[tuple[str, str]]:
    found = asked(capsys, "list", *words)["adapters"]
    return [(one["origin"], one["state"]) for one in found if one["name"] == name]


def test_an_adapter_travels_as_a_package_and_speaks_before_the_embedded_one(capsys: Captured, tmp_path: Path) -> None:
    package = tmp_path / "route.zip"
    assert asked(capsys, "pack", "-o", package, "route")["file"] == str(package)
    assert states(capsys, "route") == [("model", "in use")]
    installed = asked(capsys, "install", package)
    assert (installed["name"], installed["replaced"], installed["unchecked"]) == ("route", False, None)
    assert states(capsys, "route") == [("user", "in use"), ("model", "shadowed")]
    assert asked(capsys, "install", package)["replaced"] is True
    assert asked(capsys, "verify", "route")["ok"] is True
    assert asked(capsys, "remove", "route")["name"] == "route"
    assert states(capsys, "route") == [("model", "in use")]
    assert asked(capsys, "install", "--undo", "route")["base"] == ENCODER_DIGEST
    assert states(capsys, "route") == [("user", "in use"), ("model", "shadowed")]


def test_the_embedded_adapters_are_what_their_manifests_say(capsys: Captured) -> None:
    results = asked(capsys, "verify")["adapters"]
    assert {result["state"] for result in results} == {"ok"}
    assert len(results) == len(list(embedded_model().rglob("manifest.json")))


def test_verify_names_what_changed_and_fails(capsys: Captured, user: Path) -> None:
    folder = small_adapter(user / "mine", ENCODER_DIGEST, "select")
    (folder / "adapter_model.safetensors").write_bytes(b"changed")
    found = asked(capsys, "verify", code=exits.FAILED)
    changed = [one for one in found["adapters"] if one["state"] == "changed"]
    assert [(one["folder"], one["changed"]) for one in changed] == [(str(folder), ["adapter_model.safetensors"])]


def test_names_that_are_not_enough_are_answered_with_what_would_be(capsys: Captured) -> None:
    error = asked(capsys, "pack", "arguments", code=exits.USAGE)["error"]
    assert "several base models" in error["message"] and "--base" in error["hint"]
    error = asked(capsys, "show", "rout", code=exits.USAGE)["error"]
    assert "no adapter" in error["message"] and "route" in error["hint"]
    assert "not one of yours" in asked(capsys, "remove", "route", code=exits.FAILED)["error"]["message"]
    assert "There is no" in asked(capsys, "install", "nowhere.zip", code=exits.FAILED)["error"]["message"]
    assert main(["adapters"]) == exits.USAGE


def test_an_adapter_of_another_base_is_not_installed(capsys: Captured, tmp_path: Path, user: Path) -> None:
    folder = small_adapter(tmp_path / "other", "a" * 64, "route")
    assert "another base model" in asked(capsys, "install", folder, code=exits.FAILED)["error"]["message"]
    assert [path.name for path in user.iterdir()] == []


def test_the_live_server_is_asked_what_its_tools_are_like_now(capsys: Captured, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    entry = {"command": sys.executable, "args": [str(NOTES), str(tmp_path / "notes")]}
    patient = {"notes": {"start_timeout": 120}}
    config.write_text(json.dumps({"mcpServers": {"notes": entry}, "dualtune": {"servers": patient}}))
    old = small_adapter(tmp_path / "old", ENCODER_DIGEST, "select", "notes", "0" * 64)
    error = asked(capsys, "install", old, "--config", config, code=exits.FAILED)["error"]
    assert "other tools" in error["message"] and "`dualtune train notes`" in error["hint"]
    assert "--offline" in asked(capsys, "install", old, "--config", config, "--offline")["unchecked"]
    assert states(capsys, "select/notes", "--config", config) == [("user", "retired")]
    assert states(capsys, "select/notes", "--config", config, "--offline") == [("user", "unchecked")]
    assert states(capsys, "select/notes") == [("user", "idle")]
    assert "no server 'notes'" in asked(capsys, "install", old)["unchecked"]


def test_a_person_gets_lines(capsys: Captured) -> None:
    assert main(["adapters", "list"]) == exits.DONE
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("route\troute\t") and line.endswith("\tmodel\tin use") for line in lines)
    assert main(["adapters", "show", "route"]) == exits.DONE
    assert "licence    Apache-2.0" in capsys.readouterr().out
