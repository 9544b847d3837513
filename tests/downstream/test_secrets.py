"""Secrets given by reference reach the server, and nothing else: a real one that gives away all it knows."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from mcp_dualtune.config import Config, ServerConfig, child_environment, read_config
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.errors import ModelLoadError, ProtocolError, ServerUnavailable
from mcp_dualtune.security.redact import Redactor, declared_secrets
from tests.downstream.servers import SERVERS, connected

pytestmark = pytest.mark.anyio
SECRET = 'p4ss"word\\end'
"""With characters that are written otherwise inside JSON and inside a dictionary."""
CHATTY = str(SERVERS / "chatty.py")


def read(*arguments: str) -> Config:
    # A log line has its limit, and a long search path would fill it.
    given = {"PATH": os.defpath, "ODD_NAME": "${env:OURS}"}
    entry = {"command": sys.executable, "args": [CHATTY, *arguments], "env": given}
    broken = {"command": sys.executable, "args": [CHATTY], "env": {"T": "${env:UNSET_ONE}"}}
    text = json.dumps({"mcpServers": {"chatty": entry, "broken": broken}})
    return read_config(text, Path("/c/config.json"), {"OURS": SECRET, "UNRELATED_TOKEN": "not for you"})


def shows(text: str) -> bool:
    return any(form in text for form in (SECRET, repr(SECRET)[1:-1], json.dumps(SECRET)[1:-1]))


async def test_a_child_gets_the_listed_variables_and_its_own_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNRELATED_TOKEN", "not for you")
    print_names = "import os; print(*os.environ, file=__import__('sys').stderr)"
    config = ServerConfig("x", "stdio", command=sys.executable, args=("-c", print_names), env={"MINE": "1"})
    with anyio.fail_after(60), pytest.raises(ServerUnavailable) as caught:
        await Connection(config).run()
    said = caught.value.message.partition("Its last words: ")[2].split()
    # Python itself adds LC_CTYPE where the locale is plain C.
    assert set(said) - {"LC_CTYPE"} == set(child_environment({"MINE": "1"}))
    assert "UNRELATED_TOKEN" in os.environ


async def test_errors_and_logs_of_a_talkative_server_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mcp_dualtune")
    config = read()
    async with connected(config.servers[0]) as server:
        with pytest.raises(ProtocolError, match="ODD_NAME") as caught:
            await server.call("reveal", {})
    assert caught.value.data["environment"]["ODD_NAME"] == "[secret]"
    assert not shows(str(caught.value) + repr(caught.value) + json.dumps(caught.value.data))
    assert "ODD_NAME" in caplog.text and not shows(caplog.text)


async def test_the_last_words_of_a_server_that_cannot_start_are_masked() -> None:
    with anyio.fail_after(60), pytest.raises(ServerUnavailable, match=r"ODD_NAME=\[secret\]") as caught:
        await Connection(read("--die").servers[0]).run()
    assert not shows(str(caught.value))


async def test_a_reference_that_nothing_stands_for_costs_only_its_server() -> None:
    async with Pool(read().servers) as pool:
        await pool.wait(60)
        good, bad = pool.states()
        assert (good.status, bad.status) == ("ready", "waiting")
        assert bad.error is not None and "${env:UNSET_ONE}" in bad.error.message


def test_traces_know_what_references_stood_for() -> None:
    redactor = Redactor(declared_secrets(read()))
    assert not shows(json.dumps(redactor.value({"text": f"it is {SECRET}!", SECRET: [SECRET]})))


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """The config of a server whose last words are its whole environment."""
    entry = {"command": sys.executable, "args": [CHATTY, "--die"], "env": {"ODD_NAME": "${env:OURS}"}}
    file = tmp_path / "config.json"
    own = {"servers": {"chatty": {"start_timeout": 60}}}
    file.write_text(json.dumps({"mcpServers": {"chatty": entry}, "dualtune": own}), encoding="utf-8")
    return file


def test_no_output_of_a_command_shows_a_secret(dying: Path) -> None:
    command = [sys.executable, "-m", "mcp_dualtune", "servers", "--verbose", "--json", "--config", str(dying)]
    done = subprocess.run(command, env={**os.environ, "OURS": SECRET}, capture_output=True, text=True, timeout=110)
    assert "ODD_NAME=[secret]" in done.stdout and "ODD_NAME=[secret]" in done.stderr
    assert not shows(done.stdout + done.stderr)


def test_the_doctor_shows_no_secret(
    dying: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_pipeline(settings: object) -> None:
        raise ModelLoadError("Not needed here.")

    monkeypatch.setattr("mcp_dualtune.models.load_pipeline", load_pipeline)
    monkeypatch.setenv("OURS", SECRET)
    assert main(["doctor", "--config", str(dying)]) == exits.FAILED
    shown = "".join(capsys.readouterr())
    assert "ODD_NAME=[secret]" in shown and not shows(shown)
