"""The configuration: one typed, frozen tree, built once from a client's own `mcpServers` file.

Owns where the file lies and the environment (no other package reads it). Refuses to own: checking that a command, a
model or a URL works, which is the business of the part that uses it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import platformdirs

from mcp_dualtune.config.reader import read_config
from mcp_dualtune.config.tree import (
    AuditSettings,
    Config,
    HttpSettings,
    LimitSettings,
    ModelSettings,
    PolicyRule,
    ServerConfig,
    ServerOptions,
    Settings,
    ThresholdSettings,
    TraceSettings,
)
from mcp_dualtune.errors import ConfigError

__all__ = [
    "PATH_VARIABLE",
    "STATE_VARIABLE",
    "AuditSettings",
    "Config",
    "HttpSettings",
    "LimitSettings",
    "ModelSettings",
    "PolicyRule",
    "ServerConfig",
    "ServerOptions",
    "Settings",
    "ThresholdSettings",
    "TraceSettings",
    "default_path",
    "default_state",
    "load_config",
    "read_config",
]

PATH_VARIABLE = "DUALTUNE_CONFIG"
STATE_VARIABLE = "DUALTUNE_STATE"


def default_path() -> Path:
    """Where the config lies when nobody says otherwise."""
    return platformdirs.user_config_path("mcp-dualtune", appauthor=False) / "config.json"


def default_state(environ: Mapping[str, str]) -> Path:
    """The folder for what is kept between runs, when the config does not name one."""
    named = environ.get(STATE_VARIABLE)
    return (
        Path(named).expanduser().absolute() if named else platformdirs.user_state_path("mcp-dualtune", appauthor=False)
    )


def load_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read `path`, else the file named by DUALTUNE_CONFIG, else the default file; a missing default file is empty.

    The folder for state is the config's own, else the one named by DUALTUNE_STATE, else the user's.

    Raises:
        ConfigError: the file is missing, unreadable or wrong; the message names file, place and problem.
    """
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)
    if named is None and not default_path().exists():
        return Config(settings=Settings(state=default_state(environ)))
    file = (named or default_path()).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        hint = f"Give another file with --config, or set {PATH_VARIABLE}."
        raise ConfigError(f"Cannot read the config {file}: {reason}.", hint=hint) from error
    config = read_config(text, file, environ)
    if config.settings.state is not None:
        return config
    return replace(config, settings=replace(config.settings, state=default_state(environ)))
