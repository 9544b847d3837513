"""The records that cross folder borders, and nothing else.

All are frozen. JSON schemas, tool arguments and MCP content blocks stay plain JSON values, because they are JSON by
nature; every other dict stays inside the folder that made it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

JSON = Any
"""A JSON value: None, bool, int, float, str, list or dict of the same."""

Stage = Literal["route", "select", "arguments"]
Outcome = Literal["call", "ask", "none", "finish"]
ProvenanceSource = Literal["request", "history", "context", "schema", "fixed", "model"]

NONE = "none"
"""Choice of `route` and `select`: nothing offered fits."""
FINISH = "finish"
"""Choice of `select`: the history already answers the request."""


@dataclass(frozen=True)
class ToolSpec:
    """One tool of one server, as the catalog keeps it."""

    server: str
    name: str
    description: str
    input_schema: Mapping[str, JSON]
    """Cleaned JSON Schema of the arguments; its root is always an object with `properties`."""
    fingerprint: str
    """sha256 hex of name, description and schema in canonical JSON."""
    output_schema: Mapping[str, JSON] | None = None
    annotations: Mapping[str, JSON] = field(default_factory=dict)
    """MCP tool annotations in wire spelling (`readOnlyHint`, `destructiveHint`, ...)."""
    title: str | None = None
    wire: Mapping[str, JSON] = field(default_factory=dict, repr=False, compare=False)
    """The definition as the server sent it, for clients that get it untouched."""

    @cached_property
    def schema_fingerprint(self) -> str:
        """sha256 hex of the name and of what the schema demands: what adapters name.

        Texts are left out: servers write the machine's time zone or folders into them.
        """
        return hashlib.sha256(canonical([self.name, _without_texts(self.input_schema)]).encode()).hexdigest()


@dataclass(frozen=True)
class Offer:
    """What one server offers besides its tools, in wire spelling as it came."""

    server: str
    instructions: str | None = None
    capabilities: frozenset[str] = frozenset()
    """Names of what the server declared: `resources`, `prompts`, `completions`, `logging`, ..."""
    resources: tuple[Mapping[str, JSON], ...] = ()
    templates: tuple[Mapping[str, JSON], ...] = ()
    prompts: tuple[Mapping[str, JSON], ...] = ()


@dataclass(frozen=True)
class ServerSpec:
    """One downstream server with its tools in a fixed order."""

    name: str
    description: str
    tools: tuple[ToolSpec, ...]
    fingerprint: str
    fixed_arguments: Mapping[str, JSON] = field(default_factory=dict)
    """Arguments the user fixed in the config: added to every call of a tool that has the parameter, never decided."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Ambient facts of this server that the model may copy (for example its configured roots)."""

    @property
    def tools_fingerprint(self) -> str:
        """sha256 hex of all tools' schema fingerprints; nothing that the user may set changes it."""
        return hashlib.sha256(canonical(sorted(tool.schema_fingerprint for tool in self.tools)).encode()).hexdigest()


@dataclass(frozen=True)
class ToolCall:
    """A tool and complete arguments, ready to be sent."""

    server: str
    tool: str
    arguments: Mapping[str, JSON]

    @property
    def key(self) -> str:
        """Equal for equal calls."""
        return canonical([self.server, self.tool, dict(self.arguments)])


@dataclass(frozen=True)
class ToolResult:
    """What a downstream server answered; a tool that fails is a result with `is_error`, not an exception."""

    content: tuple[Mapping[str, JSON], ...]
    """MCP content blocks in wire spelling, untouched."""
    structured: JSON | None = None
    is_error: bool = False
    meta: Mapping[str, JSON] | None = None
    whole: Mapping[str, JSON] | None = field(default=None, repr=False, compare=False)
    """The result in wire spelling as it came, for clients that get it untouched."""

    @property
    def text(self) -> str:
        """The text blocks joined by line breaks; other blocks as a short mark such as `[image image/png]`."""
        parts = []
        for block in self.content:
            if block.get("type") == "text":
                parts.append(str(block.get("text", "")))
            else:
                about = block.get("mimeType") or block.get("uri") or ""
                parts.append(f"[{block.get('type')} {about}]".replace(" ]", "]"))
        return "\n".join(parts)


@dataclass(frozen=True)
class HistoryItem:
    """A call made earlier for the same request and the (already bounded) text of its result."""

    call: ToolCall
    result: str


@dataclass(frozen=True)
class Request:
    """What the user wants, with everything the model may use to decide."""

    text: str
    history: tuple[HistoryItem, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    """Ambient facts by name, e.g. {"today": "2026-03-01", "cwd": "/home/ana"}."""
    servers: tuple[str, ...] | None = None
    """Servers to choose from; None means all. One name skips the route stage."""


@dataclass(frozen=True)
class StageRecord:
    """How one stage decided."""

    stage: Stage
    choice: str
    probability: float
    """Calibrated probability of `choice`, 0..1."""
    alternatives: tuple[tuple[str, float], ...]
    """Runners-up, best first."""
    adapter: str
    """Name of the adapter that spoke, `base` for none, `-` where no model was needed."""
    ms: float


@dataclass(frozen=True)
class Provenance:
    """Where one leaf value of the arguments came from."""

    source: ProvenanceSource
    span: tuple[int, int] | None = None
    """Characters [start, end) of the request text, when source is `request`."""
    step: int | None = None
    """Index into the history, when source is `history`."""


@dataclass(frozen=True)
class Decision:
    """The outcome of one pass through the stages."""

    outcome: Outcome
    server: str | None
    tool: str | None
    arguments: Mapping[str, JSON]
    missing: tuple[str, ...]
    question: str | None
    confidence: float
    stages: tuple[StageRecord, ...]
    provenance: Mapping[str, Provenance]
    """By path of the leaf: `path`, `edits[0].newText`."""
    ms: float


@dataclass(frozen=True)
class Step:
    """One executed call: why, what, and what came back."""

    decision: Decision
    call: ToolCall
    result: ToolResult
    ms: float
    """Milliseconds of the downstream call alone."""


@dataclass(frozen=True)
class Trajectory:
    """A whole run for one request."""

    request: Request
    steps: tuple[Step, ...]
    final: Decision
    """The decision that ended the run (`finish`, `none`, `ask`), or the last `call` when a limit ended it."""
    stopped_by: str | None
    """None for a natural end, else the limit: `steps`, `time`, `repeat`, `policy`, or `error` after completed steps."""
    ms: float
    note: str | None = None
    """Why the run stopped early, in plain words; None for a natural end."""


@dataclass(frozen=True)
class AdapterRef:
    """An adapter on disk that may speak for a stage; equal only if its weights and their scaling are equal."""

    name: str
    """`route`, `select/git`, `arguments/filesystem/move_file`, ..."""
    path: Path
    digest: str
    """sha256 hex of the weights file: a retrained adapter of the same name is another adapter."""
    temperature: float = 1.0
    """Divides the stage's log-probabilities so that they are calibrated (fitted on held-out data)."""
    settings: str = ""
    """sha256 hex of its PEFT config, which scales the weights; empty where nobody has looked."""
    below: AdapterRef | None = None
    """The adapter that it was trained on top of; both speak together, the sum of their changes."""

    @property
    def content(self) -> str:
        """sha256 hex of weights and settings: what an adapter on top of this one names it by."""
        return hashlib.sha256(f"{self.digest}:{self.settings}".encode()).hexdigest()

    @property
    def served_name(self) -> str:
        """What it is called on a model server: another name for other weights, which such servers take for granted."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-")
        return f"{words}-{self.content[:12]}"


_TEXTS = frozenset({"title", "description", "examples", "$comment"})
"""Keywords of JSON Schema that demand nothing."""
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose keys are names, which may be equal to keywords."""


def _without_texts(schema: JSON) -> JSON:
    if isinstance(schema, Mapping):
        return {
            key: {name: _without_texts(item) for name, item in part.items()}
            if key in _NAMED and isinstance(part, Mapping)
            else part
            if key in ("enum", "const", "default")
            else _without_texts(part)
            for key, part in schema.items()
            if key not in _TEXTS
        }
    return [_without_texts(item) for item in schema] if isinstance(schema, list) else schema


def canonical(value: JSON) -> str:
    """`value` as JSON text that is equal for equal values (sorted keys, no spaces), for hashing and comparing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
