"""Text that other programs wrote, made fit to be read by the model.

Owns lengths, invisible characters and the model's own special tokens in descriptions and results. It does not judge
what a text says: a server that lies in plain words is a matter for the policy and for the user's choice of servers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

DESCRIPTION_CHARS = 2_000
"""Longest description of a server, a tool or a parameter that reaches a prompt."""
SCHEMA_DEPTH = 32
"""Schemas are not followed deeper than this; the prompt shows far less."""

_MARKER = re.compile(r"<([|｜][^\s<>]{1,64}[|｜]>)")
_JOINERS = "\u200c\u200d"
"""Zero-width joiners belong to ordinary Persian, Hindi and emoji; every other format character can hide text."""


def clean_text(text: str, limit: int, special_tokens: Sequence[str] = ()) -> str:
    """`text` without invisible characters and special tokens, its middle cut out beyond `limit` characters."""
    kept = "".join(character for character in clip(text, limit) if _visible(character))
    # A space breaks a marker for good. Deleting it could join its neighbours into a new one.
    kept = _MARKER.sub(r"< \1", kept)
    for token in special_tokens:
        if len(token) > 1 and token in kept:
            kept = kept.replace(token, f"{token[0]} {token[1:]}")
    return kept


def clip(text: str, limit: int) -> str:
    """`text` in at most `limit` characters: head and tail, with the number of characters left out between them."""
    if len(text) <= limit:
        return text
    mark = f"\n[… {len(text) - limit:,} characters left out …]\n"
    room = limit - len(mark)
    if room < 40:
        return text[: max(limit - 1, 0)] + "…"[:limit]
    tail = room // 3
    return text[: room - tail] + mark + text[-tail:]


def clean_server(server: ServerSpec, special_tokens: Sequence[str] = ()) -> ServerSpec:
    """`server` as the model may see it; names, types and fingerprints stay, because answers refer to them."""
    return replace(
        server,
        description=clean_text(server.description, DESCRIPTION_CHARS, special_tokens),
        tools=tuple(_clean_tool(tool, special_tokens) for tool in server.tools),
        context={name: clean_text(fact, DESCRIPTION_CHARS, special_tokens) for name, fact in server.context.items()},
    )


def _clean_tool(tool: ToolSpec, special_tokens: Sequence[str]) -> ToolSpec:
    return replace(
        tool,
        description=clean_text(tool.description, DESCRIPTION_CHARS, special_tokens),
        input_schema=_clean_schema(tool.input_schema, special_tokens, SCHEMA_DEPTH),
    )


def _clean_schema(schema: JSON, special_tokens: Sequence[str], depth: int) -> JSON:
    """The schema with every text meant for reading cleaned; what constrains values is left alone."""
    if depth == 0:
        return schema
    if isinstance(schema, Mapping):
        return {
            key: clean_text(value, DESCRIPTION_CHARS, special_tokens)
            if key in ("description", "title") and isinstance(value, str)
            else _clean_schema(value, special_tokens, depth - 1)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_clean_schema(item, special_tokens, depth - 1) for item in schema]
    return schema


def _visible(character: str) -> bool:
    if character in "\n\t" or character in _JOINERS:
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
