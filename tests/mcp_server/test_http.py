"""Who may listen and who may connect."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from mcp_dualtune.config import HttpSettings
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.mcp_server.http import is_loopback, open_socket, web_address
from mcp_dualtune.mcp_server.token import stored_token, token_file
from mcp_dualtune.security.redact import Redactor


def test_a_port_in_use_is_one_clear_error() -> None:
    with open_socket(HttpSettings(port=0)) as first:
        port = first.getsockname()[1]
        assert web_address(first, "http") == f"http://127.0.0.1:{port}/mcp"
        with pytest.raises(ConfigError, match=rf"Cannot listen on 127\.0\.0\.1:{port}.*--port"):
            open_socket(HttpSettings(port=port))


def test_a_network_address_needs_a_token() -> None:
    with pytest.raises(ConfigError, match="--no-token"):
        open_socket(HttpSettings(host="0.0.0.0", port=0))
    open_socket(HttpSettings(host="0.0.0.0", port=0, token="secret")).close()


def test_a_name_that_is_no_address_is_named() -> None:
    with pytest.raises(ConfigError, match=r"256\.1\.1\.1"):
        open_socket(HttpSettings(host="256.1.1.1", token="secret"))


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("nas", False)]
)
def test_loopback_is_told_from_the_network(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    token = stored_token(tmp_path / "state")
    assert len(token) == 64 and stored_token(tmp_path / "state") == token
    assert stored_token(tmp_path / "other") != token
    assert token not in Redactor().text(f"it is {token}")
    if sys.platform != "win32":
        assert stat.S_IMODE(token_file(tmp_path / "state").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "short", "x" * 20 + " " + "x" * 20, "ü" * 50, "x" * 40 + "\nSecond: line"])
def test_a_file_that_holds_no_token_opens_no_door(tmp_path: Path, text: str) -> None:
    token_file(tmp_path).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no token"):
        stored_token(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be kept"):
        stored_token(tmp_path / "file" / "state")
