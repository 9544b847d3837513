"""Secrets never stand in what is written down; ordinary data does."""

from __future__ import annotations

import pytest

from mcp_dualtune.config import Config, ServerConfig
from mcp_dualtune.security.redact import MASK, Redactor, declared_secrets, is_secret_name

SECRETS = [
    "Authorization: Bearer abcDEF123456",
    "use sk-proj-abcdefghij1234567890 please",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "0123456789abcdef0123456789abcdef",
    "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6MTIzNDU2Nzg5MA==",
    "postgres://ana:hunter2secret@db/x",
    "password=hunter2secret",
    'api_key: "hunter2secret"',
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secret_shaped_texts_are_masked(text: str) -> None:
    masked = Redactor().text(text)
    assert MASK in masked
    for part in (
        "abcDEF123456",
        "abcdefghij1234567890",
        "0123456789abcdef",
        "IOSFODNN7",
        "c2lnbmF0",
        "hunter2",
        "MIIEow",
        "Zm9v",
    ):
        assert part not in masked


@pytest.mark.parametrize(
    "text",
    [
        "show me /home/ana/projects/some_long_folder_name/another_long_folder_name/readme.md",
        "commit 3f2a91c says: fix the tokenizer",
        "https://example.org:8080/path?page=2",
        "the quick brown fox at 2026-03-01T12:00:00",
        "max_tokens: 512",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert Redactor().text(text) == text


def test_values_under_telling_keys_are_masked_at_any_depth() -> None:
    value = {"headers": [{"X-Api-Key": "short"}], "password": {"a": 1}, "path": "notes.md", "max_tokens": 512}
    assert Redactor().value(value) == {
        "headers": [{"X-Api-Key": MASK}],
        "password": MASK,
        "path": "notes.md",
        "max_tokens": 512,
    }


def test_declared_secrets_are_masked_inside_texts_and_keys() -> None:
    redactor = Redactor(["correct horse", "abc"])
    assert redactor.value({"note correct horse": "it is correct horse, abc"}) == {f"note {MASK}": f"it is {MASK}, abc"}


def test_names_of_secrets_are_told_from_others() -> None:
    assert all(
        map(is_secret_name, ["token", "GITHUB_TOKEN", "apiKey", "client_secret", "Authorization", "accessToken"])
    )
    assert not any(map(is_secret_name, ["path", "tokenizer", "keyboard", "author", "monkey", "pinned", "repo_path"]))


def test_secrets_of_the_config_are_known() -> None:
    server = ServerConfig(
        "x",
        "http",
        url="https://x/mcp",
        headers={"X-Key": "header-value"},
        env={"MY_TOKEN": "env-value", "HOME": "/home/ana"},
    )
    assert set(declared_secrets(Config((server,)))) >= {"header-value", "env-value"}
    assert "/home/ana" not in declared_secrets(Config((server,)))
