"""What training data is made of, before it becomes tokens.

Owns the records and the expansion of request templates. It does not read files and does not render prompts.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mcp_dualtune.catalog.docstrings import explained
from mcp_dualtune.catalog.schema import clean_schema
from mcp_dualtune.errors import CatalogError
from mcp_dualtune.types import JSON, HistoryItem, ServerSpec, ToolSpec


@dataclass(frozen=True)
class Case:
    """One decision to learn: what was asked, where, and the right answer of every stage that is known."""

    query: str
    server: ServerSpec
    tool: str
    """A tool of `server`, or `none`, or `finish`."""
    arguments: Mapping[str, JSON] | None = None
    """None when only the choice is known; such a case teaches no arguments."""
    missing: tuple[str, ...] = ()
    history: tuple[HistoryItem, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestTemplate:
    """A request with `{parameter}` places and the arguments its wording fixes."""

    text: str
    arguments: Mapping[str, JSON]
    values: Mapping[str, Sequence[JSON]]
    weight: float = 1.0
    """How often it is drawn, against the others of its tool."""

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Names of the places in the text, in order."""
        return tuple(name for name in dict.fromkeys(re.findall(r"\{([^{}]+)\}", self.text)) if self.values.get(name))


@dataclass(frozen=True)
class Entry:
    """One tool with the requests people wrote for it."""

    server: str
    tool: str
    requests: tuple[RequestTemplate, ...]
    missing: tuple[tuple[RequestTemplate, tuple[str, ...]], ...] = ()
    """Requests that leave out required values, with the names of those."""
    results: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    """Required parameters that people seldom say; they come from the config or the context."""
    choices: tuple[RequestTemplate, ...] = ()
    """Requests of which only the tool is known, all of one weight."""


@dataclass(frozen=True)
class Chain:
    """A request that takes several calls of one server."""

    server: str
    text: str
    values: Mapping[str, Sequence[JSON]]
    steps: tuple[Mapping[str, JSON], ...]


def make_tool(server: str, name: str, description: str, schema: JSON) -> ToolSpec | None:
    """A ToolSpec, or None where the schema cannot be used."""
    try:
        cleaned = clean_schema(schema)
    except CatalogError:
        return None
    return ToolSpec(server, name, description or "", explained(cleaned, description or ""), fingerprint="")


def parse_entry(server: str, tool: str, row: Mapping[str, Any]) -> Entry:
    """An Entry from a row in the format of `phrases/*.jsonl` (README there)."""
    values = row.get("values") or {}
    requests = []
    for item in row["requests"]:
        fields: Mapping[str, Any] = {"text": item} if isinstance(item, str) else item
        requests.append(
            RequestTemplate(fields["text"], fields.get("args") or {}, {**values, **(fields.get("values") or {})})
        )
    missing = tuple(
        (RequestTemplate(item["text"], item.get("args") or {}, values), tuple(item["missing"]))
        for item in row.get("missing") or ()
    )
    return Entry(
        server, tool, tuple(requests), missing, tuple(row.get("results") or ()), tuple(row.get("ambient") or ())
    )


def fill(template: RequestTemplate, rng: random.Random) -> tuple[str, dict[str, JSON]]:
    """One wording and its arguments: every place gets one of its values."""
    text, arguments = template.text, dict(template.arguments)
    for name in template.places:
        shown, value = said(rng.choice(list(template.values[name])))
        text = text.replace("{" + name + "}", shown)
        arguments[name] = value
    return text, arguments


def said(value: JSON) -> tuple[str, JSON]:
    """(text form, argument value) of an entry in a `values` list."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        return value[0], value[1]
    return (value, value) if isinstance(value, str) else (json.dumps(value), value)


def substitute(value: JSON, known: Mapping[str, tuple[str, JSON]]) -> JSON:
    """`value` with `{name}` replaced: typed where the whole string is one place, as text inside longer strings."""
    if isinstance(value, str):
        if value[:1] == "{" and value[-1:] == "}" and value[1:-1] in known:
            return known[value[1:-1]][1]
        for name, (shown, typed) in known.items():
            value = value.replace("{" + name + "}", typed if isinstance(typed, str) else shown)
        return value
    if isinstance(value, list):
        return [substitute(item, known) for item in value]
    if isinstance(value, dict):
        return {key: substitute(item, known) for key, item in value.items()}
    return value


def bucket(text: str, buckets: int) -> int:
    """A stable pseudo-random bucket of `text`, for splits that survive changes elsewhere."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % buckets
