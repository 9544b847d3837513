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

from mcp_dualtune.config.environment import child_environment
from mcp_dualtune.config.masking import MASK, mask, mask_error, mask_json, remember
from mcp_dualtune.config.reader import read_config
from mcp_dualtune.config.references import Reference, resolve
from mcp_dualtune.config.tree import (
    AuditSettings,
    Config,
    HttpSettings,
    LimitSettings,
    ModelSettings,
    OAuthSettings,
    PolicyRule,
    RemoteSettings,
    ServerConfig,
    ServerOptions,
    Settings,
    ThresholdSettings,
    TraceSettings,
    TrainingSettings,
    WriterSettings,
)
from mcp_dualtune.errors import ConfigError

__all__ = [
    "ADAPTERS_VARIABLE",
    "EXAMPLES_VARIABLE",
    "MASK",
    "PATH_VARIABLE",
    "STATE_VARIABLE",
    "AuditSettings",
    "Config",
    "HttpSettings",
    "LimitSettings",
    "ModelSettings",
    "OAuthSettings",
    "PolicyRule",
    "Reference",
    "RemoteSettings",
    "ServerConfig",
    "ServerOptions",
    "Settings",
    "ThresholdSettings",
    "TraceSettings",
    "TrainingSettings",
    "WriterSettings",
    "adapters_path",
    "child_environment",
    "default_path",
    "default_state",
    "examples_path",
    "load_config",
    "mask",
    "mask_error",
    "mask_json",
    "named_path",
    "read_config",
    "remember",
    "resolve",
]

PATH_VARIABLE = "DUALTUNE_CONFIG"
STATE_VARIABLE = "DUALTUNE_STATE"
ADAPTERS_VARIABLE = "DUALTUNE_ADAPTERS"
EXAMPLES_VARIABLE = "DUALTUNE_EXAMPLES"


def default_path() -> Path:
    """Where the config lies when nobody says otherwise."""
    return platformdirs.user_config_path("mcp-dualtune", appauthor=False) / "config.json"


def named_path(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """`path`, else the file named by DUALTUNE_CONFIG, else None: nobody says otherwise."""
    environ = os.environ if environ is None else environ
    return path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)


def default_state(environ: Mapping[str, str]) -> Path:
    """The folder for what is kept between runs, when the config does not name one."""
    named = environ.get(STATE_VARIABLE)
    return (
        Path(named).expanduser().absolute() if named else platformdirs.user_state_path("mcp-dualtune", appauthor=False)
    )


def adapters_path(environ: Mapping[str, str] | None = None) -> Path:
    """Folder of the user's own adapters: the one named by DUALTUNE_ADAPTERS, else one in the user's data directory."""
    named = (os.environ if environ is None else environ).get(ADAPTERS_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_data_path("mcp-dualtune", appauthor=False) / "adapters"


def examples_path(environ: Mapping[str, str] | None = None) -> Path:
    """File of the user's corrections: the one named by DUALTUNE_EXAMPLES, else one in the user's data directory."""
    named = (os.environ if environ is None else environ).get(EXAMPLES_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_data_path("mcp-dualtune", appauthor=False) / "examples.jsonl"


def load_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read `path`, else the file named by DUALTUNE_CONFIG, else the default file; a missing default file is empty.

    The folder for state is the config's own, else the one named by DUALTUNE_STATE, else the user's.

    Raises:
        ConfigError: the file is missing, unreadable or wrong; the message names file, place and problem.
    """
    environ = os.environ if environ is None else environ
    named = named_path(path, environ)
    if named is None and not default_path().exists():
        return _with_folders(Config(), environ)
    file = (named or default_path()).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        hint = f"Give another file with --config, or set {PATH_VARIABLE}."
        raise ConfigError(f"Cannot read the config {file}: {reason}.", hint=hint) from error
    return _with_folders(read_config(text, file, environ), environ)


def _with_folders(config: Config, environ: Mapping[str, str]) -> Config:
    """The folders of the user's own that no config file needs to name."""
    state = config.settings.state or default_state(environ)
    model = replace(config.settings.model, user_adapters=adapters_path(environ))
    training = replace(config.settings.training, examples=examples_path(environ))
    servers = tuple(replace(server, state=state) for server in config.servers)
    settings = replace(config.settings, state=state, model=model, training=training)
    return replace(config, servers=servers, settings=settings)
