"""Other servers, from each client's spelling into our config, and moved out of the client's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.clients import changes
from mcp_dualtune.clients.document import Document
from mcp_dualtune.clients.entries import take
from mcp_dualtune.clients.importing import Source, collect, free_backup, move_out, source_of
from mcp_dualtune.clients.registration import install
from mcp_dualtune.clients.table import CLIENTS
from mcp_dualtune.config import read_config
from mcp_dualtune.errors import ConfigError
from tests.clients.machines import FILES, JSON_FILE

GIT = {"command": "mcp-server-git", "args": ["--repository", "."], "env": {"TOKEN": "hush-hush-1"}}


def empty(text: str = "") -> Document:
    return Document(Path("config.json"), text, "json", ("mcpServers",))


def a_source(name: str, folder: Path) -> Source:
    client = CLIENTS[name]
    file = folder / f"{name}.{client.format}"
    file.write_text(FILES.get(name, JSON_FILE.replace("BLOCK", client.block)), encoding="utf-8")
    return source_of(file)


@pytest.mark.parametrize("name", CLIENTS)
def test_every_clients_servers_arrive_in_our_words(name: str, tmp_path: Path) -> None:
    text, outcomes = collect([a_source(name, tmp_path)], empty())
    assert json.loads(text) == {"mcpServers": {"git": GIT}}
    taken = {outcome.name: outcome.action for outcome in outcomes}
    assert taken == ({"developer": "skipped", "git": "added"} if name == "goose" else {"git": "added"})


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"serverUrl": "https://h/p"}, {"url": "https://h/p"}),
        ({"httpUrl": "https://h/p", "trust": True}, {"type": "http", "url": "https://h/p"}),
        ({"type": "streamable_http", "uri": "https://h/p"}, {"type": "http", "url": "https://h/p"}),
        ({"type": "sse", "url": "https://h/p"}, {"type": "sse", "url": "https://h/p"}),
        ({"url": "https://h/p", "http_headers": {"A": "b"}}, {"url": "https://h/p", "headers": {"A": "b"}}),
        ({"command": "x", "disabled": True, "autoApprove": ["y"]}, {"command": "x", "disabled": True}),
        ({"command": "x", "enabled": False}, {"command": "x", "disabled": True}),
        ({"command": {"path": "x", "args": ["a"], "env": {}}}, {"command": "x", "args": ["a"]}),
        ({"cmd": "x", "args": [], "envs": {"A": "b"}, "timeout": 300}, {"command": "x", "env": {"A": "b"}}),
        ({"command": "x", "cwd": "/w"}, {"command": "x", "cwd": "/w"}),
    ],
)  # fmt: skip
def test_spellings_of_all_clients_are_understood(entry: dict[str, Any], wanted: dict[str, Any]) -> None:
    taken = take("s", entry)
    assert (taken.entry, taken.notes) == (wanted, ())


def test_a_url_means_the_older_transport_where_the_client_says_so() -> None:
    assert take("s", {"url": "https://h/p"}, url_is_sse=True).entry == {"type": "sse", "url": "https://h/p"}


@pytest.mark.parametrize(
    ("entry", "variable", "where"),
    [
        ({"cmd": "x", "env_keys": ["KEY"]}, "KEY", "env"),
        ({"command": "x", "env_vars": ["A", {"name": "KEY", "source": "remote"}]}, "KEY", "env"),
        ({"url": "https://h", "bearer_token_env_var": "KEY"}, "KEY", "headers"),
        ({"url": "https://h", "env_http_headers": {"X-Key": "KEY"}}, "KEY", "headers"),
        ({"command": "x", "env": {"T": "${input:git-hub key}"}}, "GIT_HUB_KEY", "env"),
    ],
)
def test_a_secret_that_is_not_in_the_file_becomes_a_variable_to_set(
    entry: dict[str, Any], variable: str, where: str
) -> None:
    taken = take("s", entry)
    assert taken.entry is not None
    text = json.dumps({"mcpServers": {"s": taken.entry}})
    assert variable in " ".join(taken.notes)
    server = read_config(text, Path("c.json"), {variable: "told-1"}).servers[0]
    assert "told-1" in " ".join(getattr(server, where).values())
    assert read_config(text, Path("c.json"), {}).servers[0].name == "s"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (3, "not an object"),
        ({}, "neither a command nor a url"),
        ({"type": "builtin", "name": "developer"}, "part of Goose"),
        ({"source": "extension", "settings": {}}, "extension"),
        ({"command": "x", "args": ["${workspaceFolder}/a"]}, "only inside an editor"),
        ({"command": "x", "args": "-y"}, "expected a list"),
        ({"url": "ftp://h"}, "not a web address"),
    ],
)
def test_what_cannot_be_a_server_of_ours_is_left_out_with_the_reason(entry: Any, words: str) -> None:
    taken = take("s", entry)
    assert taken.entry is None and words in taken.notes[0]


def test_a_projects_servers_run_in_its_folder(tmp_path: Path) -> None:
    taken = take("s", {"command": "./run", "args": ["${workspaceFolder}/a"]}, folder=tmp_path)
    assert taken.entry == {"command": "./run", "args": [f"{tmp_path}/a"], "cwd": str(tmp_path)}


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "/opt/v/bin/dualtune", "args": ["serve"]},
        {"command": "uvx", "args": ["mcp-dualtune", "serve"]},
        {"command": "C:\\v\\Scripts\\dualtune.exe"},
        {"command": "/v/bin/python", "args": ["-m", "mcp_dualtune", "serve"]},
        {"cmd": "/opt/v/bin/dualtune"},
    ],
)
def test_we_do_not_take_in_ourselves(entry: dict[str, Any]) -> None:
    source = Source("x", empty(json.dumps({"mcpServers": {"gateway": entry}})))
    text, outcomes = collect([source], empty("{}"))
    assert (text, outcomes[0].action) == ("{}", "skipped")


def test_names_that_clash_are_changed_and_equal_servers_taken_once() -> None:
    def source(label: str, command: str) -> Source:
        return Source(label, empty(json.dumps({"mcpServers": {"git": {"command": command}, "none": {"command": "n"}}})))

    ours = empty('{"mcpServers": {"git": {"command": "a"}}}')
    text, outcomes = collect([source("cursor", "a"), source("zed", "b"), source("zed", "c")], ours)
    found = [(outcome.source, outcome.name, outcome.action, outcome.as_name) for outcome in outcomes]
    assert found == [
        ("cursor", "git", "present", "git"),
        ("cursor", "none", "renamed", "none-cursor"),
        ("zed", "git", "renamed", "git-zed"),
        ("zed", "none", "renamed", "none-zed"),
        ("zed", "git", "renamed", "git-zed-2"),
        ("zed", "none", "present", "none-zed"),
    ]
    commands = {server.name: server.command for server in read_config(text, Path("c"), {}).servers}
    assert commands == {"git": "a", "none-cursor": "n", "git-zed": "b", "none-zed": "n", "git-zed-2": "c"}


@pytest.mark.parametrize("name", CLIENTS)
def test_moved_servers_leave_the_client_with_us_alone_and_a_copy(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_source(name, tmp_path).document.file
    changes.write(install(file, client, client.entry("/opt/dualtune", ["serve"])))
    before = file.read_bytes()
    source = source_of(file)
    _, outcomes = collect([source], empty())
    changes.write(move_out(source, outcomes))
    left = set(source_of(file).document.servers)
    assert left == ({"dualtune", "developer"} if name == "goose" else {"dualtune"})
    backup = file.with_name(f"{file.name}.before-import")
    assert backup.read_bytes() == before
    assert free_backup(file).name == f"{file.name}.before-import-2"


def test_a_file_without_servers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    with pytest.raises(ConfigError, match="There is no file"):
        source_of(file)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="lists no servers"):
        source_of(file)
