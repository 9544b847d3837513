"""What a change of the config means for what runs."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from mcp_dualtune.config import (
    Config,
    HttpSettings,
    LimitSettings,
    ModelSettings,
    PolicyRule,
    ServerConfig,
    ServerOptions,
    Settings,
)
from mcp_dualtune.config.changes import LIVE_OPTIONS, LIVE_SETTINGS, compare, live_settings, needs_restart

SERVER = ServerConfig("a", "stdio", command="x")


def with_options(**options: object) -> ServerConfig:
    return replace(SERVER, options=ServerOptions(**options))  # type: ignore[arg-type]


def test_servers_are_told_apart_by_what_has_to_happen_to_them() -> None:
    old = Config((SERVER, replace(SERVER, name="b"), replace(SERVER, name="c"), replace(SERVER, name="same")))
    new = Config(
        (
            replace(SERVER, name="same"),
            replace(SERVER, args=("--new",)),
            replace(with_options(call_timeout=5), name="b"),
            replace(SERVER, name="d"),
        )
    )
    changes = compare(old, new)
    assert (changes.added, changes.removed) == (("d",), ("c",))
    assert (changes.restarted, changes.adjusted) == (("a",), ("b",))
    assert str(changes) == "added d; removed c; restarted a; adjusted b"


def test_equal_configs_from_different_files_are_no_change() -> None:
    changes = compare(Config((SERVER,), path=Path("one")), Config((SERVER,), path=Path("two")))
    assert not changes
    assert str(changes) == "nothing"


def test_settings_apply_at_once_or_after_the_next_start() -> None:
    new = Settings(
        model=ModelSettings(threads=1),
        http=HttpSettings(port=1),
        limits=LimitSettings(steps=1),
        policy=(PolicyRule("*/*", "deny"),),
    )
    changes = compare(Config(), Config(settings=new))
    assert changes.settings == ("dualtune.limits", "dualtune.policy")
    assert changes.postponed == ("dualtune.model", "dualtune.http")
    mixed = live_settings(Settings(), new)
    assert (mixed.limits, mixed.policy) == (new.limits, new.policy)
    assert (mixed.model, mixed.http) == (ModelSettings(), HttpSettings())


def test_a_new_prefix_of_public_names_waits_for_the_next_start() -> None:
    changes = compare(Config((SERVER,)), Config((with_options(prefix="x_"),)))
    assert (changes.restarted, changes.postponed) == ((), ("dualtune.servers.a.prefix",))


def test_everything_about_reaching_a_server_takes_a_restart() -> None:
    for change in ({"command": "y"}, {"args": ("z",)}, {"env": {"A": "1"}}, {"cwd": Path("x")}, {"url": "http://x"}):
        assert needs_restart(SERVER, replace(SERVER, **change)), change  # type: ignore[arg-type]
    assert needs_restart(SERVER, with_options(mode="auto"))
    assert not needs_restart(SERVER, with_options(deny=("x",), start_timeout=1, context={"a": "b"}))


def test_what_is_live_exists() -> None:
    assert set(LIVE_SETTINGS) <= {entry.name for entry in fields(Settings)}
    assert set(LIVE_OPTIONS) <= {entry.name for entry in fields(ServerOptions)}
