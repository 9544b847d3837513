"""Config files as clients write them, and every way to get ours wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.config import (
    Config,
    RemoteSettings,
    ServerConfig,
    Settings,
    TrainingSettings,
    adapters_path,
    default_path,
    examples_path,
    load_config,
    read_config,
)
from mcp_dualtune.errors import ConfigError

FILE = Path("/somewhere/config.json")


def read(data: Any, **environ: str) -> Config:
    return read_config(data if isinstance(data, str) else json.dumps(data), FILE, environ)


def server(entry: dict[str, Any], **environ: str) -> ServerConfig:
    return read({"mcpServers": {"s": entry}}, **environ).servers[0]


def own(block: Any, **environ: str) -> Config:
    return read({"mcpServers": {"git": {"command": "x"}}, "dualtune": block}, **environ)


def test_a_clients_file_works_as_it_is() -> None:
    config = read(
        """{
        // a comment, as editors allow it
        "mcpServers": {
            "files": {"command": "npx", "args": ["-y", "server", "${HOME}", "/data // not a comment"],
                      "env": {"LEVEL": "${LEVEL:-info}", "COUNT": 3}, "autoApprove": ["x"], "timeout": 60},
            "old": {"command": "x", "disabled": true},
            "web": {"type": "http", "url": "http://localhost:1/mcp", "headers": {"Authorization": "Bearer ${env:KEY}"}},
            "sse": {"url": "http://localhost:1/sse?x=1"}, /* block */
        },
        "theme": "dark",
        }""",
        KEY="k1",
    )
    files, web, sse = config.servers
    assert (files.name, files.transport, files.command) == ("files", "stdio", "npx")
    # A shell may be meant in arguments, so only the explicit form is replaced there.
    assert files.args == ("-y", "server", "${HOME}", "/data // not a comment")
    assert files.env == {"LEVEL": "info", "COUNT": "3"}
    assert (web.transport, web.headers) == ("http", {"Authorization": "Bearer k1"})
    assert sse.transport == "sse"
    assert config.disabled == ("old",)
    assert config.settings == Settings()
    assert config.path == FILE


@pytest.mark.parametrize("block", ["mcpServers", "servers", "context_servers"])
@pytest.mark.parametrize("key", ["url", "serverUrl", "httpUrl"])
def test_the_spellings_of_other_clients_are_understood(block: str, key: str) -> None:
    assert read({block: {"s": {key: "https://h/p"}}}).servers[0].url == "https://h/p"


def test_explicit_variables_are_put_into_commands_too() -> None:
    entry = server({"command": "${env:BIN}/x", "args": ["${env:BIN}", "${userHome}"], "cwd": "sub"}, BIN="/opt")
    assert (entry.command, entry.args) == ("/opt/x", ("/opt", str(Path.home())))
    assert entry.cwd == Path("/somewhere/sub")


def test_secrets_do_not_show_when_a_server_is_printed() -> None:
    config = own({"http": {"token_env": "T"}}, T="hush-1")
    entry = server({"command": "x", "env": {"K": "hush-2"}})
    assert config.settings.http.token == "hush-1"
    assert "hush" not in repr(config) + repr(entry)


def test_our_block_is_read_whole() -> None:
    config = own(
        {
            "servers": {
                "git": {
                    "mode": "auto", "arguments": {"repo_path": "/r"}, "context": {"root": "/r"}, "description": "d",
                    "allow": ["git_*"], "deny": ["git_reset"], "start_timeout": 5, "call_timeout": 1.5,
                    "prefix": "",
                }
            },
            "model": {"path": "m", "adapters": ["~/a", "b"], "precision": "int8", "threads": 2, "device": "auto"},
            "thresholds": {"none": 0.2, "ask": 1},
            "limits": {"steps": 3, "seconds": 9, "repeat": 1, "result_chars": 10, "request_chars": 20},
            "expose": "selected",
            "policy": [{"match": "git/git_reset", "action": "deny"}, {"match": "*/delete_*", "action": "ask"}],
            "context": {"city": "Bern"},
            "trace": {"file": "t.jsonl"},
            "http": {"host": "::1", "port": 0},
        }
    )  # fmt: skip
    options, settings = config.servers[0].options, config.settings
    assert (options.mode, options.arguments, options.allow) == ("auto", {"repo_path": "/r"}, ("git_*",))
    assert (options.start_timeout, options.call_timeout) == (5.0, 1.5)
    assert (options.prefix, config.prefixes) == ("", {"git": ""})
    assert settings.model.path == Path("/somewhere/m")
    assert settings.model.adapters == (Path.home() / "a", Path("/somewhere/b"))
    assert (settings.thresholds.none, settings.thresholds.ask) == (0.2, 1.0)
    assert (settings.limits.steps, settings.limits.request_chars) == (3, 20)
    assert settings.trace.file == Path("/somewhere/t.jsonl")
    assert (settings.expose, settings.http.host, settings.context) == ("selected", "::1", {"city": "Bern"})
    reset, delete = settings.policy
    assert reset.fits("git", "git_reset") and not reset.fits("git", "git_log")
    assert delete.fits("files", "delete_file") and delete.action == "ask"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"mcpServers": {\n  "a": }}', ["line 2, column 8", "not valid JSON"]),
        ('{"a": NaN}', ["NaN", "column 7"]),
        ("[]", ["expected an object, found a list"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"mcpServers": {}, "servers": {}}', ["servers", "already listed under mcpServers"]),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', ["mcpServers", '"a" is written twice']),
        ('{"dualtune": {"limits": {"seconds": 1e999}}}', ["dualtune.limits.seconds", "found the number inf"]),
        ('{"mcpServers": {"a": 3}}', ["mcpServers.a", "the number 3"]),
        ('{"mcpServers": {"none": {"command": "x"}}}', ["mcpServers.none", "name"]),
    ],
)
def test_a_wrong_file_says_where(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(FILE) in caught.value.message
    assert caught.value.hint
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, ['the server "s" has neither a command nor a url']),
        ({"command": "x", "url": "http://h"}, ["both a command and a url"]),
        ({"command": " "}, ["mcpServers.s.command", "blank"]),
        ({"command": ["x"]}, ["mcpServers.s.command", "a string, found a list"]),
        ({"command": "x", "args": "-y"}, ["mcpServers.s.args", "expected a list"]),
        ({"command": "x", "args": ["a", 1]}, ["mcpServers.s.args[1]", "the number 1"]),
        ({"command": "x", "env": {"A": None}}, ["mcpServers.s.env.A", "null"]),
        ({"command": "${keyring:a/b}"}, ["mcpServers.s.command", "${keyring:a/b}", "out of place"]),
        ({"command": "x", "env": {"A": "${keyring:token}"}}, ["mcpServers.s.env.A", "'token' is not SERVICE/NAME"]),
        ({"command": "x", "env": {"A": "${env:}"}}, ["mcpServers.s.env.A", "names no variable"]),
        ({"command": "x", "type": "http"}, ["mcpServers.s.type", "needs a url"]),
        ({"url": "http://h", "type": "carrier pigeon"}, ["carrier pigeon", "stdio, http, sse"]),
        ({"url": "ftp://h"}, ["mcpServers.s.url", "ftp://h"]),
    ],
)
def test_a_wrong_server_says_where(entry: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        server(entry)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"modle": {}}, ["dualtune.modle", "unknown key", 'Did you mean "model"?']),
        ({"limits": {"step": 1}}, ["dualtune.limits.step", '"steps"']),
        ({"xyz": 1}, ["dualtune.xyz", "Known: model", "servers"]),
        ({"servers": {"gti": {}}}, ["dualtune.servers.gti", 'Did you mean "git"?']),
        ({"servers": {"git": {"mode": "modern"}}}, ["dualtune.servers.git.mode", '"legacy", "auto"']),
        ({"servers": {"git": {"start_timeout": 0}}}, ["start_timeout", "above 0"]),
        ({"model": {"threads": 1.5}}, ["dualtune.model.threads", "whole number"]),
        ({"model": {"threads": True}}, ["dualtune.model.threads", "found true"]),
        ({"model": {"adapters": "x"}}, ["dualtune.model.adapters", "expected a list"]),
        ({"model": {"path": ""}}, ["dualtune.model.path", "empty string"]),
        ({"model": []}, ["dualtune.model", "expected an object"]),
        ({"thresholds": {"none": 1.1}}, ["dualtune.thresholds.none", "from 0 to 1"]),
        ({"expose": "some"}, ["dualtune.expose", '"some" is not a choice']),
        ({"policy": [{"match": "x"}]}, ["dualtune.policy[0]", '"action" is missing']),
        ({"policy": [{"match": "x", "action": "deny"}]}, ["dualtune.policy[0].match", "server/tool"]),
        ({"context": {"a": 1}}, ["dualtune.context.a", "a string"]),
        ({"http": {"port": 70000}}, ["dualtune.http.port", "65535"]),
        ({"http": {"token": "x"}}, ["dualtune.http.token", "token_env"]),
        ({"http": {"token_env": "UNSET_TOKEN"}}, ["dualtune.http.token_env", "UNSET_TOKEN is not set"]),
    ],
)
def test_a_wrong_setting_says_where(block: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        own(block)
    assert str(FILE) in caught.value.message
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_argument_wins_over_the_variable_and_that_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_dualtune.config.default_path", lambda: tmp_path / "default.json")
    found = load_config(environ={})
    assert found.servers == () and found.path is None
    for name in ("default", "variable", "argument"):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"mcpServers": {name: {"command": "x"}}}), encoding="utf-8-sig"
        )
    environ = {"DUALTUNE_CONFIG": str(tmp_path / "variable.json")}
    assert load_config(environ={}).servers[0].name == "default"
    assert load_config(environ=environ).servers[0].name == "variable"
    assert load_config(tmp_path / "argument.json", environ).servers[0].name == "argument"


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.json: No such file"):
        load_config(tmp_path / "gone.json")
    with pytest.raises(ConfigError, match=r"gone\.json"):
        load_config(environ={"DUALTUNE_CONFIG": str(tmp_path / "gone.json")})
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.json")


def test_the_default_place_is_a_users_own() -> None:
    assert default_path().parts[-2:] == ("mcp-dualtune", "config.json")


def test_the_users_adapters_lie_where_the_environment_says_else_in_the_data_directory(tmp_path: Path) -> None:
    assert load_config(environ={}).settings.model.user_adapters == adapters_path({})
    assert adapters_path({}).parts[-2:] == ("mcp-dualtune", "adapters")
    file = tmp_path / "config.json"
    file.write_text("{}")
    named = load_config(file, {"DUALTUNE_ADAPTERS": str(tmp_path / "mine")})
    assert named.settings.model.user_adapters == tmp_path / "mine"
    file.write_text('{"dualtune": {"model": {"user_adapters": "x"}}}')
    with pytest.raises(ConfigError, match="user_adapters: unknown key"):
        load_config(file, {})


def remote(tmp_path: Path, block: Any, environ: dict[str, str] | None = None) -> tuple[RemoteSettings, ...]:
    text = json.dumps({"dualtune": {"model": {"remote": block}}})
    return read_config(text, tmp_path / "config.json", environ or {}).settings.model.remote


def test_a_model_server_may_stand_alone_or_in_a_list(tmp_path: Path) -> None:
    url = "http://127.0.0.1:8000/v1"
    (alone,) = remote(tmp_path, {"url": url, "model": "m", "tokenizer": "tok", "key_env": "KEY"}, {"KEY": "s3cret"})
    assert alone == RemoteSettings(url, "m", tmp_path / "tok", key_env="KEY", key="s3cret")
    assert alone.stages == ("route", "select", "arguments") and "s3cret" not in repr(alone)
    two = remote(tmp_path, [{"url": url, "stages": ["route", "select"]}, {"url": url, "stages": ["arguments"]}])
    assert [one.stages for one in two] == [("route", "select"), ("arguments",)]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"url": "127.0.0.1:8000"}, "not the address of a model server"),
        ({"url": "http://user:secret@host/v1"}, "not the address of a model server"),
        ({"url": "http://host/v1", "key_env": "NOWHERE"}, "NOWHERE is not set"),
        ({"url": "http://host/v1", "key": "s3cret"}, "unknown key"),
        ({"url": "http://host/v1", "stages": ["routes"]}, "is not a choice"),
        ({"url": "http://host/v1", "seconds": 0}, "too small"),
        ({"model": "m"}, 'the key "url" is missing'),
        ([{"url": "http://a/v1"}, {"url": "http://b/v1", "stages": ["select"]}], "two servers sit in the select stage"),
        ("http://host/v1", "expected a list"),
    ],
)
def test_a_wrong_model_server_is_told_with_its_place(tmp_path: Path, block: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        remote(tmp_path, block)
    assert "dualtune.model.remote" in str(caught.value) and "secret" not in str(caught.value).replace("user:secret", "")


def training(tmp_path: Path, block: Any, environ: dict[str, str] | None = None) -> TrainingSettings:
    text = json.dumps({"dualtune": {"training": block}})
    return read_config(text, tmp_path / "config.json", environ or {}).settings.training


def test_nothing_is_learnt_from_the_trace_and_no_writer_is_asked_unless_the_file_says_so(tmp_path: Path) -> None:
    assert training(tmp_path, {}) == TrainingSettings()
    assert (TrainingSettings().trace, TrainingSettings().writer) == (False, None)


def test_a_writer_without_its_key_disturbs_nothing_until_it_is_asked(tmp_path: Path) -> None:
    block = {"trace": True, "writer": {"url": "http://127.0.0.1:11434/v1", "model": "qwen3:8b", "key_env": "KEY"}}
    writer = training(tmp_path, block).writer
    assert writer is not None and writer.key is None and writer.requests == 12
    named = training(tmp_path, block, {"KEY": "s3cret"}).writer
    assert named is not None and named.key == "s3cret" and "s3cret" not in repr(named)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"writer": {"url": "localhost:11434", "model": "m"}}, "not the address of a model server"),
        ({"writer": {"url": "http://host/v1"}}, 'the key "model" is missing'),
        ({"writer": {"url": "http://host/v1", "model": "m", "key": "s3cret"}}, "unknown key"),
        ({"writer": {"url": "http://host/v1", "model": "m", "requests": 0}}, "out of range"),
        ({"examples": "mine.jsonl"}, "unknown key"),
        ({"trace": "yes"}, "expected true or false"),
    ],
)
def test_a_wrong_source_is_told_with_its_place(tmp_path: Path, block: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        training(tmp_path, block)
    assert "dualtune.training" in str(caught.value) and "s3cret" not in str(caught.value)


def test_corrections_lie_where_the_environment_says_else_in_the_data_directory(tmp_path: Path) -> None:
    assert load_config(environ={}).settings.training.examples == examples_path({})
    assert examples_path({}).parts[-2:] == ("mcp-dualtune", "examples.jsonl")
    named = load_config(environ={"DUALTUNE_EXAMPLES": str(tmp_path / "mine.jsonl")})
    assert named.settings.training.examples == tmp_path / "mine.jsonl"
