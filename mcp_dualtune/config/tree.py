"""The records of the configuration, with every default.

Owns what can be set and what it is when nobody sets it. Refuses to own: the file format and the environment.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mcp_dualtune.types import JSON

_POSITIVE = {"above": 0}


@dataclass(frozen=True)
class ServerOptions:
    """What our block says about one server: `dualtune.servers.<name>`."""

    mode: Literal["legacy", "auto"] = "legacy"
    """Protocol era: `legacy` shakes hands first (push-style tools work), `auto` prefers the stateless protocol."""
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    """Fixed arguments: added to every call of a tool that has the parameter, never decided by the model."""
    context: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    """Replaces what the server says of itself in the list that the route stage reads."""
    allow: tuple[str, ...] = ()
    """Tool name patterns to offer; empty offers all."""
    deny: tuple[str, ...] = ()
    start_timeout: float = field(default=30.0, metadata=_POSITIVE)
    """Seconds from launch to a complete tool list."""
    call_timeout: float = field(default=120.0, metadata=_POSITIVE)
    """Seconds for one tool call."""


@dataclass(frozen=True)
class ServerConfig:
    """One downstream server: how to reach it and how to treat it."""

    name: str
    transport: Literal["stdio", "http", "sse"]
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: ServerOptions = ServerOptions()


@dataclass(frozen=True)
class RemoteSettings:
    """A model server (vLLM or llama.cpp) that sits in some stages instead of a local model: `dualtune.model.remote`."""

    url: str
    """As its clients write it, with `/v1` at the end."""
    model: str = ""
    """Name of the base model on the server; the llama.cpp server has only one and needs none."""
    tokenizer: Path | None = None
    """Folder with the tokenizer of that model; None takes `dualtune.model.path`. Where the weights lie beside it, they
    say which adapters belong to it."""
    base: str | None = None
    """Digest of the base model as adapters name it, where its weights do not lie beside the tokenizer."""
    server: Literal["auto", "vllm", "llama.cpp"] = "auto"
    stages: tuple[Literal["route", "select", "arguments"], ...] = ("route", "select", "arguments")
    key_env: str | None = None
    """Name of the environment variable that holds the server's API key."""
    key: str | None = field(default=None, repr=False, metadata={"own": False})
    """The key itself, read when the config is loaded; never written in the file."""
    seconds: float = field(default=60.0, metadata=_POSITIVE)
    """For one answer as a whole."""
    retries: int = field(default=2, metadata={"from": 0, "to": 10})
    """How often a server that is down or busy is asked again."""


@dataclass(frozen=True)
class ModelSettings:
    """Which model runs, and how."""

    path: Path | None = None
    """Folder of a Hugging Face causal LM; None is the embedded model."""
    adapters: tuple[Path, ...] = ()
    """Adapter folders searched first."""
    user_adapters: Path | None = field(default=None, metadata={"own": False})
    """Folder of the adapters that the user has trained or installed, searched before the embedded ones; set when the
    config is loaded, never written in the file. It need not exist."""
    choosing: Literal["auto", "encoder", "model"] = "auto"
    """Who chooses server and tool: the public encoder under our adapters, or the model itself. `auto` takes the encoder
    for the embedded model, and the model itself where `path` names one."""
    precision: Literal["auto", "bf16", "int8", "float32"] = "auto"
    """`auto` runs our own models with 8-bit weights on a CPU, and everything else in bfloat16."""
    threads: int | None = field(default=None, metadata=_POSITIVE)
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    remote: tuple[RemoteSettings, ...] = field(default=(), metadata={"single": True})
    """Model servers by stage; one may be written without a list."""


@dataclass(frozen=True)
class ThresholdSettings:
    """Calibrated probabilities, 0..1, under which the gateway does not act."""

    none: float = field(default=0.0, metadata={"from": 0, "to": 1})
    """Least probability of a server and of a tool; below it the outcome is `none`."""
    ask: float = field(default=0.0, metadata={"from": 0, "to": 1})
    """Least confidence in the arguments; below it the outcome is `ask`."""


@dataclass(frozen=True)
class LimitSettings:
    """Where a run ends."""

    steps: int = field(default=8, metadata=_POSITIVE)
    seconds: float = field(default=300.0, metadata=_POSITIVE)
    repeat: int = field(default=2, metadata=_POSITIVE)
    """How often the same call may give the same result."""
    result_chars: int = field(default=4_000, metadata=_POSITIVE)
    """Characters of one result that the model sees; the user gets all of it."""
    request_chars: int = field(default=20_000, metadata=_POSITIVE)


@dataclass(frozen=True)
class PolicyRule:
    """The first rule whose `match` (a `server/tool` pattern with * and ?) fits a call decides."""

    match: str
    action: Literal["allow", "ask", "deny"]

    def fits(self, server: str, tool: str) -> bool:
        """Say whether this rule speaks about `server`/`tool`."""
        return fnmatch.fnmatchcase(f"{server}/{tool}", self.match)


@dataclass(frozen=True)
class TraceSettings:
    """Where traces go; None keeps none."""

    file: Path | None = None


@dataclass(frozen=True)
class HttpSettings:
    """How the HTTP front doors listen."""

    host: str = "127.0.0.1"
    port: int = field(default=8765, metadata={"from": 0, "to": 65535})
    token_env: str | None = None
    """Name of the environment variable that holds the bearer token."""
    token: str | None = field(default=None, repr=False, metadata={"own": False})
    """The token itself, read when the config is loaded; never written in the file."""


@dataclass(frozen=True)
class Settings:
    """Our own block of the file, except what belongs to a server."""

    model: ModelSettings = ModelSettings()
    thresholds: ThresholdSettings = ThresholdSettings()
    limits: LimitSettings = LimitSettings()
    expose: Literal["none", "selected", "all"] = "none"
    policy: tuple[PolicyRule, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    """Ambient facts for every request."""
    trace: TraceSettings = TraceSettings()
    http: HttpSettings = HttpSettings()


@dataclass(frozen=True)
class Config:
    """Everything the gateway and the front doors need to know."""

    servers: tuple[ServerConfig, ...] = ()
    settings: Settings = Settings()
    path: Path | None = None
    """The file it came from; None when there is no file in the default place."""
    disabled: tuple[str, ...] = ()
    """Names of servers that the file switches off."""
