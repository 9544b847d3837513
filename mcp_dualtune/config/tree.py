"""The records of the configuration, with every default.

Owns what can be set and what it is when nobody sets it. Refuses to own: the file format and the environment.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mcp_dualtune.config.references import Reference
from mcp_dualtune.types import JSON

_POSITIVE = {"above": 0}
SigningAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True)
class OAuthSettings:
    """How we log in at a remote server; everything may be left out where the server tells it."""

    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    """A person logs in with a browser, or this machine with a client id and a secret or key of its own."""
    client_id: str | None = None
    """The id of a client that was registered beforehand; None registers one when it is needed."""
    client_secret: str | None = field(default=None, repr=False)
    """Written as a reference, `${env:NAME}` or `${keyring:SERVICE/NAME}`."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the secret is sent: in a header or in the form."""
    private_key: str | None = field(default=None, repr=False)
    """Signs a proof of who we are in the place of a secret (`private_key_jwt`); PEM, written as a reference."""
    signing_algorithm: SigningAlgorithm | None = None
    """None takes the usual one for the kind of key."""
    key_id: str | None = None
    """What the authorization server calls the key; sent along where it knows several."""
    client_metadata_url: str | None = None
    """Address of a Client ID Metadata Document that describes this client; used where the server takes them."""
    issuer: str | None = None
    """The authorization server that id, secret and key belong to; nothing is sent to, or signed for, any other."""
    scope: str | None = None
    """Scopes to ask for, parted by blanks; None asks for what the server names."""
    redirect_port: int | None = field(default=None, metadata={"from": 1, "to": 65535})
    """Port on 127.0.0.1 that the browser comes back to; None takes a free one."""
    store: Literal["file", "keyring"] = "file"
    """Where tokens are kept: a file of ours that only its owner can read, or the system's keyring."""


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
    prefix: str | None = None
    """Stands before the public names of what the server offers; None is `<server>__`, an empty text is no prefix."""
    policy: Literal["allow", "ask", "deny"] | None = None
    """What holds for this server's tools where no rule of `dualtune.policy` fits; None takes their annotations."""
    start_timeout: float = field(default=30.0, metadata=_POSITIVE)
    """Seconds from launch to a complete tool list."""
    call_timeout: float = field(default=120.0, metadata=_POSITIVE)
    """Seconds for one tool call."""
    oauth: OAuthSettings | None = None
    """For a remote server; None logs in only when the server asks for it."""


@dataclass(frozen=True)
class ServerConfig:
    """One downstream server: how to reach it and how to treat it."""

    name: str
    transport: Literal["stdio", "http", "sse"]
    command: str | None = None
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: ServerOptions = ServerOptions()
    references: tuple[Reference, ...] = ()
    """Values that the file only names; the keyring's still stand as written, until `resolve` puts them in."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What references stood for so far."""
    state: Path | None = None
    """Folder for what is kept about this server between runs; None keeps nothing."""


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

    @property
    def encoder_chooses(self) -> bool:
        """Whether the public encoder chooses, where no model server does."""
        return self.choosing == "encoder" or (self.choosing == "auto" and self.path is None)


@dataclass(frozen=True)
class ThresholdSettings:
    """Calibrated probabilities, 0..1, that decide whether the gateway acts."""

    nothing: float | None = field(default=None, metadata={"from": 0, "to": 1})
    """Most that may be left to "no server fits" for one to be chosen; above it the outcome is `none`. None: 0.3 where
    the stage has an adapter, whose probabilities are calibrated, else no limit."""
    none: float = field(default=0.0, metadata={"from": 0, "to": 1})
    """Least probability of a server and of a tool; below it the outcome is `none`."""
    ask: float | None = field(default=None, metadata={"from": 0, "to": 1})
    """Least confidence in the arguments; below it the outcome is `ask`. None: 0.1 where our reader has an adapter, else
    0."""


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
class AuditSettings:
    """Where every decision, call, refusal and answer is written down; None writes nothing."""

    file: Path | None = None
    max_bytes: int = field(default=10_000_000, metadata=_POSITIVE)
    """A file that has grown to this size is put aside as `<file>.1`, and a new one begun."""
    keep: int = field(default=5, metadata={"from": 0, "to": 1000})
    """How many files are kept aside."""


@dataclass(frozen=True)
class WriterSettings:
    """A chat model that writes requests to train on: `dualtune.training.writer`; only training asks it."""

    url: str
    """OpenAI-compatible base address, with `/v1` at the end: Ollama, llama.cpp, vLLM, or any other."""
    model: str
    key_env: str | None = None
    """Name of the environment variable that holds the API key."""
    key: str | None = field(default=None, repr=False, metadata={"own": False})
    """The key itself, read when the config is loaded; None where the variable is not set, which only training minds."""
    requests: int = field(default=12, metadata={"from": 1, "to": 200})
    """To be written for each tool."""
    seconds: float = field(default=120.0, metadata=_POSITIVE)
    """For one answer as a whole."""
    minutes: float = field(default=15.0, metadata=_POSITIVE)
    """For all answers together."""
    retries: int = field(default=2, metadata={"from": 0, "to": 10})


@dataclass(frozen=True)
class TrainingSettings:
    """Where requests to train on come from, besides those made up from the tools' schemas."""

    examples: Path | None = field(default=None, metadata={"own": False})
    """File of the user's corrections and of what training was given, which requests are compared with; set when the
    config is loaded, never written in the file. It need not exist."""
    trace: bool = False
    """Learn from the trace file: requests whose calls worked."""
    writer: WriterSettings | None = None
    sampling: bool = False
    """Offer clients a tool by which their own model writes requests, and learn from what it wrote."""


@dataclass(frozen=True)
class HttpSettings:
    """How the HTTP front doors listen."""

    host: str = "127.0.0.1"
    port: int = field(default=8765, metadata={"from": 0, "to": 65535})
    token_env: str | None = None
    """Name of the environment variable that holds the bearer token."""
    token: str | None = field(default=None, repr=False, metadata={"own": False})
    """The token itself, read when the config is loaded; never written in the file."""
    resume: bool = False
    """Whether a client whose stream broke gets what it missed; every answer then begins with one event more."""


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
    audit: AuditSettings = AuditSettings()
    training: TrainingSettings = TrainingSettings()
    http: HttpSettings = HttpSettings()
    pins: Literal["enforce", "warn", "off"] = "enforce"
    """What happens to a tool that is not as it was at the server's first use: left out, told only, or not looked at."""
    state: Path | None = None
    """Folder for what is kept between runs (pins, the HTTP token); None, in a config made in code, keeps nothing."""


@dataclass(frozen=True)
class Config:
    """Everything the gateway and the front doors need to know."""

    servers: tuple[ServerConfig, ...] = ()
    settings: Settings = Settings()
    path: Path | None = None
    """The file it came from; None when there is no file in the default place."""
    disabled: tuple[str, ...] = ()
    """Names of servers that the file switches off."""

    @property
    def prefixes(self) -> Mapping[str, str]:
        """By server, the prefix that stands in the config; servers without one are missing."""
        given = {server.name: server.options.prefix for server in self.servers}
        return {name: prefix for name, prefix in given.items() if prefix is not None}
