"""References in an entry: what they become, and that a missing one costs one server only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.errors
import pytest

from mcp_dualtune.config import Config, ServerConfig, read_config, resolve
from mcp_dualtune.errors import ConfigError, ServerUnavailable
from tests.config.keyrings import MemoryKeyring


def read(*entries: dict[str, Any], own: dict[str, Any] | None = None, **environ: str) -> Config:
    servers = {f"s{place}": entry for place, entry in enumerate(entries)}
    return read_config(json.dumps({"mcpServers": servers, "dualtune": own or {}}), Path("/c/config.json"), environ)


KEYS = {"grant": "client_credentials", "client_id": "a", "private_key": "${env:A}"}


@pytest.fixture
def entries() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    memory = MemoryKeyring()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


def test_the_environment_is_put_in_when_the_file_is_read() -> None:
    server = read(
        {"command": "x", "env": {"A": "${env:ONE}", "B": "${TWO:-two}"}, "args": ["-k=${env:ONE}"]}, ONE="1st"
    )
    assert resolve(server.servers[0]) is server.servers[0]
    assert (server.servers[0].env, server.servers[0].args) == ({"A": "1st", "B": "two"}, ("-k=1st",))


@pytest.mark.parametrize("field", ["env", "args", "headers", "url"])
def test_the_keyring_is_asked_when_the_server_is_needed(entries: MemoryKeyring, field: str) -> None:
    reference = "${keyring:dualtune/work/git}"
    entry: dict[str, Any] = {"url": "http://h/p"} if field in ("headers", "url") else {"command": "x"}
    entry[field] = {
        "env": {"T": f"a {reference} b"},
        "args": [f"a {reference} b"],
        "headers": {"T": f"a {reference} b"},
        "url": f"http://h/{reference}",
    }[field]
    server = read(entry).servers[0]
    entries.set_password("dualtune/work", "git", "from-the-ring")
    assert "from-the-ring" not in str(vars(server))
    assert "from-the-ring" in str(getattr(resolve(server), field))
    entries.set_password("dualtune/work", "git", "changed-since")
    assert "changed-since" in str(getattr(resolve(server), field))


def test_a_value_from_the_environment_is_never_read_as_a_reference(entries: MemoryKeyring) -> None:
    server = read({"command": "x", "env": {"A": "${env:ODD}"}}, ODD="${keyring:a/b}").servers[0]
    assert resolve(server).env == {"A": "${keyring:a/b}"}


@pytest.mark.parametrize(
    ("value", "environ", "said"),
    [
        ("${env:NONE_SUCH}", {}, "variable NONE_SUCH is not set"),
        ("${NONE_SUCH}", {}, "variable NONE_SUCH is not set"),
        ("${env:EMPTY}", {"EMPTY": ""}, "variable EMPTY is not set"),
        ("${input:token}", {}, "only inside an editor"),
        ("${keyring:a/none}", {}, "no such entry"),
    ],
)
def test_what_nothing_stands_for_is_named_and_never_empty(
    entries: MemoryKeyring, value: str, environ: dict[str, str], said: str
) -> None:
    config = read({"command": "x", "env": {"T": f"a{value}"}}, {"command": "y"}, **environ)
    with pytest.raises(ServerUnavailable, match=said) as caught:
        resolve(config.servers[0])
    assert value in caught.value.message and "mcpServers.s0.env.T" in caught.value.message and caught.value.hint
    assert not caught.value.retryable
    assert resolve(config.servers[1]) == config.servers[1]


def test_an_empty_default_is_taken_where_the_file_says_so() -> None:
    assert read({"command": "x", "env": {"A": "${env:NONE_SUCH:-}"}}).servers[0].env == {"A": ""}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (keyring.errors.KeyringLocked("no"), "locked"),
        (keyring.errors.NoKeyringError("no"), "no keyring"),
        (keyring.errors.InitError("broken"), "broken"),
    ],
)
def test_a_keyring_that_cannot_be_used_says_what_to_do(entries: MemoryKeyring, error: Exception, said: str) -> None:
    entries.failure = error
    with pytest.raises(ServerUnavailable, match=said) as caught:
        resolve(read({"command": "x", "env": {"T": "${keyring:a/b}"}}).servers[0])
    assert "${keyring:a/b}" in caught.value.message and caught.value.hint


def test_without_the_keyring_package_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ServerUnavailable, match="not installed") as caught:
        resolve(read({"command": "x", "env": {"T": "${keyring:a/b}"}}).servers[0])
    assert "mcp-dualtune[keyring]" in caught.value.hint


@pytest.mark.parametrize("secret", ["client_secret", "private_key"])
def test_no_representation_shows_a_value(entries: MemoryKeyring, secret: str) -> None:
    entries.set_password("a", "b", "from-the-ring")
    entry = {"url": "http://h/${env:SECRET_ONE}", "headers": {"X": "${keyring:a/b}"}}
    oauth = {"oauth": {"client_id": "me", secret: "${env:SECRET_TWO}", "grant": "client_credentials"}}
    config = read(entry, own={"servers": {"s0": oauth}}, SECRET_ONE="value-one", SECRET_TWO="value-two")
    resolved = resolve(config.servers[0])
    assert resolved.options.oauth and getattr(resolved.options.oauth, secret) == "value-two"
    shown = repr(config) + repr(resolved)
    assert all(value not in shown for value in ("value-one", "value-two", "from-the-ring"))


@pytest.mark.parametrize(
    ("oauth", "words"),
    [
        ({"client_id": "a", "client_secret": "written-out"}, ["client_secret", "does not stand in the file"]),
        ({"client_secret": "${env:A}"}, ["oauth", "needs its client_id"]),
        ({"grant": "client_credentials"}, ["oauth", "needs a client_id, and a client_secret or a private_key"]),
        ({"grant": "client_credentials", "client_id": "a"}, ["oauth", "a client_secret or a private_key"]),
        ({**KEYS, "private_key": "-----BEGIN PRIVATE KEY-----"}, ["private_key", "does not stand in the file"]),
        ({**KEYS, "client_id": None}, ["oauth", "a private_key needs its client_id"]),
        ({**KEYS, "client_secret": "${env:A}"}, ["oauth", "both a client_secret and a private_key"]),
        ({**KEYS, "grant": "authorization_code"}, ["private_key", '"grant": "client_credentials"']),
        ({**KEYS, "signing_algorithm": "HS256"}, ["signing_algorithm", '"HS256" is not a choice', "ES256"]),
        ({"signing_algorithm": "ES256"}, ["signing_algorithm", "there is none"]),
        ({"key_id": "first"}, ["key_id", "there is none"]),
        ({"client_metadata_url": "http://h/client.json"}, ["client_metadata_url", "https://host/path"]),
        ({"redirect_port": 0}, ["redirect_port", "out of range"]),
    ],
)
def test_wrong_login_settings_say_where(oauth: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read({"url": "http://h/p"}, own={"servers": {"s0": {"oauth": oauth}}}, A="x")
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("secret", ["client_secret", "private_key"])
def test_what_proves_who_we_are_comes_from_the_keyring(entries: MemoryKeyring, secret: str) -> None:
    entries.set_password("a", "proof", "line one\nline two")
    oauth = {"grant": "client_credentials", "client_id": "me", secret: "${keyring:a/proof}"}
    server = read({"url": "http://h/p"}, own={"servers": {"s0": {"oauth": oauth}}}).servers[0]
    assert "line one" not in str(vars(server))
    assert getattr(resolve(server).options.oauth, secret) == "line one\nline two"


def test_a_local_server_has_no_login() -> None:
    with pytest.raises(ConfigError, match="only a remote server has a login"):
        read({"command": "x"}, own={"servers": {"s0": {"oauth": {}}}})


def test_plain_settings_and_folders_are_no_secrets() -> None:
    entry = {"command": "x", "args": ["${env:WORK}"], "env": {"U": "${USER}", "API_KEY": "literal-1", "L": "plain-2"}}
    server: ServerConfig = read(entry, WORK="/home/ana/work", USER="anastasia").servers[0]
    assert server.secrets == ("literal-1",)
