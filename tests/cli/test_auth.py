"""`dualtune auth`: the commands, against a real authorization server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx2
import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from tests.downstream.oauth_server import world

pytestmark = pytest.mark.anyio
Captured = pytest.CaptureFixture[str]


def browser(address: str) -> bool:
    """Follow the login page to the end."""
    return httpx2.get(address, follow_redirects=True, timeout=30).status_code == 200


async def test_the_commands_log_in_tell_and_log_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("webbrowser.open", browser)
    monkeypatch.setenv("DUALTUNE_STATE", str(tmp_path / "state"))
    file = tmp_path / "config.json"

    async def dualtune(*words: str) -> tuple[int, Any, str]:
        code = await anyio.to_thread.run_sync(main, ["auth", *words, "--json", "--config", str(file)])
        shown = capsys.readouterr()
        return code, json.loads(shown.out), shown.err

    async with world(tmp_path) as made:
        file.write_text(json.dumps({"mcpServers": {"notes": {"type": "http", "url": made.url}}}), encoding="utf-8")
        code, said, _ = await dualtune("status", "notes")
        assert (code, said["logins"][0]["standing"]) == (exits.FAILED, "not logged in")
        code, said, told = await dualtune("login", "notes")
        assert (code, said["logged_in"]) == (exits.DONE, True)
        assert f"{made.issuer}/authorize?" in told
        code, said, _ = await dualtune("status")
        assert (code, said["logins"][0]["standing"]) == (exits.DONE, "renews itself")
        assert not any(token in str(said) for token in [*made.authority.access, *made.authority.refresh])
        code, said, _ = await dualtune("logout", "notes")
        assert (code, said["logged_out"]) == (exits.DONE, True)


async def test_without_a_browser_only_the_address_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    file = tmp_path / "config.json"
    async with world(tmp_path) as made:
        file.write_text(json.dumps({"mcpServers": {"notes": {"type": "http", "url": made.url}}}), encoding="utf-8")
        words = ["auth", "login", "notes", "--no-browser", "--timeout", "1", "--config", str(file)]
        code = await anyio.to_thread.run_sync(main, words)
        told = capsys.readouterr().err
    assert (code, opened) == (exits.DOWNSTREAM, [])
    assert f"{made.issuer}/authorize?" in told and "was not finished within 1 s" in told


@pytest.mark.parametrize("words", [["login", "local"], ["logout", "nowhere"], ["login"]])
def test_a_server_that_has_no_login_is_refused(tmp_path: Path, words: list[str], capsys: Captured) -> None:
    file = tmp_path / "config.json"
    servers = {"local": {"command": "x"}, "far": {"url": "http://127.0.0.1:1/mcp"}}
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    assert main(["auth", *words, "--config", str(file)]) == exits.USAGE
    assert "Remote servers: far" in capsys.readouterr().err
