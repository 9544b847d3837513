"""Our entry in every client's file on every system: put in, put in again, and taken out."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcp_dualtune.clients import changes
from mcp_dualtune.clients.registration import backup_of, install, open_document, uninstall
from mcp_dualtune.clients.table import CLIENTS, Client
from mcp_dualtune.errors import ConfigError
from tests.clients.machines import FILES, JSON_FILE, LINUX, MAC, PLACES, PROJECT, WINDOWS, machine

COMMAND, ARGS = "/opt/dual tune/dualtune", ["serve", "--config", 'C:\\Users\\Ana "A"\\mcp.json']
ALL = pytest.mark.parametrize("name", CLIENTS)


def text_of(client: Client) -> str:
    return FILES.get(client.name, JSON_FILE.replace("BLOCK", client.block))


def parsed(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        return tomllib.loads(text)
    return yaml.safe_load(text) if file.suffix == ".yaml" else open_document(file, CLIENTS["cursor"])._parsed()


def put_in(file: Path, client: Client, args: list[str] = ARGS) -> bool:
    change = install(file, client, client.entry(COMMAND, args))
    changes.write(change)
    return change.changes


def take_out(file: Path, client: Client) -> None:
    changes.write(uninstall(file, client))


def a_file(folder: Path, client: Client, text: str | None = None) -> Path:
    file = folder / ("config" + Path(PLACES[client.name][LINUX]).suffix)
    file.write_bytes((text_of(client) if text is None else text).encode())
    return file


@ALL
@pytest.mark.parametrize("system", [MAC, WINDOWS, LINUX])
def test_every_client_is_found_where_it_keeps_its_file(name: str, system: str, tmp_path: Path) -> None:
    client, here = CLIENTS[name], machine(system, tmp_path)
    file = client.file(here, "user")
    assert file == here.home / PLACES[name][system]
    assert not client.found(here, "user")
    assert put_in(file, client)
    assert client.found(here, "user")
    entry = parsed(file)[client.block]["dualtune"]
    assert (entry["cmd" if name == "goose" else "command"], entry["args"]) == (COMMAND, ARGS)
    take_out(file, client)
    assert not file.exists()


@ALL
def test_a_project_has_a_file_of_its_own_where_the_client_knows_one(name: str, tmp_path: Path) -> None:
    client, here = CLIENTS[name], machine(LINUX, tmp_path)
    assert client.project == PROJECT.get(name)
    assert not client.found(here, "project")
    if client.project is None:
        with pytest.raises(ConfigError, match="no config for one project"):
            client.file(here, "project")
    else:
        assert client.file(here, "project") == here.project / client.project


def test_variables_and_older_places_decide_where_a_file_lies(tmp_path: Path) -> None:
    here = machine(LINUX, tmp_path, XDG_CONFIG_HOME="/x", CODEX_HOME="/c", CLAUDE_CONFIG_DIR="/d")
    places = {name: client.file(here, "user") for name, client in CLIENTS.items()}
    assert places["zed"] == Path("/x/zed/settings.json")
    assert places["codex"] == Path("/c/config.toml")
    assert places["claude-code"] == Path("/d/.claude.json")
    extension = Path("/x/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json")
    assert places["cline"] != extension
    here = machine(LINUX, tmp_path)
    (here.home / ".cache" / "lm-studio").mkdir(parents=True)
    assert CLIENTS["lm-studio"].file(here, "user") == here.home / ".cache" / "lm-studio" / "mcp.json"
    folder = here.home / ".config" / extension.relative_to("/x").parent
    folder.mkdir(parents=True)
    assert CLIENTS["cline"].file(here, "user").parent == folder
    windows = machine(WINDOWS, tmp_path, APPDATA="/r", LOCALAPPDATA=str(tmp_path / "local"))
    assert CLIENTS["claude-desktop"].file(windows, "user") == Path("/r/Claude/claude_desktop_config.json")
    packaged = tmp_path / "local" / "Packages" / "Claude_abc" / "LocalCache" / "Roaming"
    packaged.mkdir(parents=True)
    assert CLIENTS["claude-desktop"].file(windows, "user") == packaged / "Claude" / "claude_desktop_config.json"


@ALL
def test_a_users_file_keeps_every_line_and_gets_ours(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client)
    before = parsed(file)
    assert put_in(file, client)
    after = parsed(file)
    assert after[client.block].pop("dualtune")["args"] == ARGS
    assert after == before
    old, new = text_of(client).splitlines(), file.read_text(encoding="utf-8").splitlines()
    assert [line for line in old if line not in new] == []
    if name == "goose":
        assert new.index("  # what I use") < new.index("  developer:")
    assert new.index(next(line for line in new if "dualtune" in line)) != new.index(old[-2]) + 1 or name == "codex"
    assert backup_of(file).read_text(encoding="utf-8") == text_of(client)


@ALL
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_twice_is_once_and_undoing_gives_the_same_bytes_back(name: str, ends: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client, text_of(client).replace("\n", ends))
    original = file.read_bytes()
    assert put_in(file, client)
    once = file.read_bytes()
    assert once.count(b"\n") == once.count(ends.encode())
    assert not put_in(file, client)
    assert file.read_bytes() == once
    assert put_in(file, client, ["serve"])
    assert put_in(file, client)
    take_out(file, client)
    assert file.read_bytes() == original
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    take_out(file, client)
    assert file.read_bytes() == original


@ALL
def test_undoing_keeps_what_the_user_changed_since(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client)
    put_in(file, client)
    file.write_text(file.read_text(encoding="utf-8").replace("mcp-server-git", "my-git"), encoding="utf-8")
    take_out(file, client)
    assert file.read_text(encoding="utf-8") == text_of(client).replace("mcp-server-git", "my-git")


@ALL
def test_undoing_brings_an_older_entry_of_that_name_back(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client)
    file.write_text(open_document(file, client).with_entry("dualtune", client.entry("mine", [])), encoding="utf-8")
    original = parsed(file)
    put_in(file, client)
    file.write_text(file.read_text(encoding="utf-8").replace("mcp-server-git", "my-git"), encoding="utf-8")
    take_out(file, client)
    found = parsed(file)
    assert found[client.block]["dualtune"] == original[client.block]["dualtune"]


@ALL
@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_an_empty_file_becomes_one_and_is_empty_again(name: str, text: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client, text)
    put_in(file, client)
    assert "dualtune" in open_document(file, client).servers
    take_out(file, client)
    assert file.read_bytes() == text.encode()


def test_what_the_user_set_in_our_entry_is_kept(tmp_path: Path) -> None:
    client = CLIENTS["cline"]
    entry = {"url": "http://x", "disabled": True, "autoApprove": ["plan"]}
    file = a_file(tmp_path, client, json.dumps({"mcpServers": {"dualtune": entry}}))
    put_in(file, client)
    found = {"disabled": True, "autoApprove": ["plan"], "command": COMMAND, "args": ARGS}
    assert parsed(file)["mcpServers"]["dualtune"] == found


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("cursor", '{\n "mcpServers": {"a" 1}}', "line 2: not valid JSON"),
        ("cursor", '{"mcpServers": {,\n}}', "not quite JSON"),
        ("cursor", "[]", "the file is not an object"),
        ("cursor", '{"mcpServers": []}', "mcpServers is not an object"),
        ("cursor", '{"mcpServers": {}, "mcpServers": {}}', '"mcpServers" is written twice'),
        ("cursor", "[" * 100_000, "nested too deeply"),
        ("codex", 'model = "x"\n[mcp_servers\n', "line 2: not valid TOML"),
        ("codex", 'mcp_servers = { git = { command = "x" } }\n', "nothing can be added"),
        ("goose", "extensions:\n  a: b\n c: d\n", "line 3: not valid YAML"),
        ("goose", "extensions: {git: {cmd: x}}\n", "nothing can be added"),
        ("goose", "- a\n", "the file is not an object"),
        ("goose", "a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_changed_is_named_and_left_alone(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    client = CLIENTS[name]
    file = a_file(tmp_path, client, text)
    with pytest.raises(ConfigError) as caught:
        put_in(file, client)
    assert str(file) in caught.value.message and words in caught.value.message
    assert "not changed" in caught.value.hint
    assert file.read_bytes() == text.encode()
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_bytes_that_are_not_utf8_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes('{"mcpServers": {"é": 1}}'.encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        put_in(file, CLIENTS["cursor"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")
def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "mcp.json", tmp_path / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    real.chmod(0o640)
    link.symlink_to(real)
    put_in(link, CLIENTS["cursor"])
    assert link.is_symlink() and "dualtune" in real.read_text(encoding="utf-8")
    assert {file.stat().st_mode & 0o777 for file in (real, backup_of(link))} == {0o640}
    new = tmp_path / "new" / "mcp.json"
    put_in(new, CLIENTS["cursor"])
    assert new.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    file = a_file(tmp_path, CLIENTS["cursor"])
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="Cannot write"):
            put_in(file, CLIENTS["cursor"])
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_another_program_wrote_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    client = CLIENTS["claude-code"]
    file = a_file(tmp_path, client)
    change = install(file, client, client.entry(COMMAND, ARGS))
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="by another program"):
        changes.write(change)
    assert file.read_text(encoding="utf-8") == "{}"
