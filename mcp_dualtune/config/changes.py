"""What lies between two configs: which servers come, go or change, and which settings cannot follow.

Owns the difference. Refuses to own: acting on it, which the pool and the gateway do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from mcp_dualtune.config.tree import Config, ServerConfig, ServerOptions, Settings

LIVE_SETTINGS = ("limits", "policy", "context")
"""Settings that are read anew for every request; the others shape parts that are built once."""
LIVE_OPTIONS = (
    "arguments",
    "context",
    "description",
    "prefix",
    "allow",
    "deny",
    "policy",
    "start_timeout",
    "call_timeout",
)
"""Options that need no new connection to the server."""


@dataclass(frozen=True)
class Changes:
    """The difference between two configs, by name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    """Servers that only get other options, without a restart."""
    settings: tuple[str, ...] = ()
    """Settings that apply from now on, as keys of the file."""
    postponed: tuple[str, ...] = ()
    """Settings that apply after the next start only."""

    def __str__(self) -> str:
        said = [f"{entry.name} {', '.join(names)}" for entry in fields(self) if (names := getattr(self, entry.name))]
        return "; ".join(said) or "nothing"

    def __bool__(self) -> bool:
        return any(getattr(self, entry.name) for entry in fields(self))


def compare(old: Config, new: Config) -> Changes:
    """Say what has to happen for a gateway that runs under `old` to run under `new`."""
    before = {server.name: server for server in old.servers}
    after = {server.name: server for server in new.servers}
    both = [(before[name], server) for name, server in after.items() if name in before and before[name] != server]
    settings = [
        entry.name
        for entry in fields(Settings)
        if getattr(old.settings, entry.name) != getattr(new.settings, entry.name)
    ]
    return Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        restarted=tuple(server.name for known, server in both if needs_restart(known, server)),
        adjusted=tuple(server.name for known, server in both if not needs_restart(known, server)),
        settings=tuple(f"dualtune.{name}" for name in settings if name in LIVE_SETTINGS),
        postponed=(*(f"dualtune.{name}" for name in settings if name not in LIVE_SETTINGS), *_renamed(before, after)),
    )


def _renamed(before: Mapping[str, ServerConfig], after: Mapping[str, ServerConfig]) -> list[str]:
    """Public names are settled at the start: a client must not find another tool under a name that it knows."""
    old = {name: server.options.prefix for name, server in before.items()}
    changed = [name for name, server in after.items() if server.options.prefix != old.get(name)]
    return [f"dualtune.servers.{name}.prefix" for name in changed]


def needs_restart(old: ServerConfig, new: ServerConfig) -> bool:
    """Whether the change of one server takes more than other options for its running connection."""
    return replace(old, options=_carried(old.options, new.options)) != new


def live_settings(old: Settings, new: Settings) -> Settings:
    """`old` with what may change while running taken from `new`."""
    return replace(old, **{name: getattr(new, name) for name in LIVE_SETTINGS})


def _carried(old: ServerOptions, new: ServerOptions) -> ServerOptions:
    return replace(old, **{name: getattr(new, name) for name in LIVE_OPTIONS})
