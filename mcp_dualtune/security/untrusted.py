"""Text that other programs wrote, made fit to be read by the model.

Owns lengths, invisible characters and the model's own special tokens in descriptions, schemas and results. It does not
judge what a text says: a server that lies in plain words is a matter for the policy and for the user's choice of
servers.
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
NAME_CHARS = 256
"""Longest name of a parameter that is shown."""

_MARKER = re.compile(r"<([|｜][^\s<>]{1,64}[|｜]>)")
_KEPT_MARKS = "\u200c\u200d\ufe0e\ufe0f"
"""Joiners and emoji selectors belong to ordinary Persian, Hindi and emoji, at most two at a time; every other format
character can hide text."""
_MARK_RUN = re.compile(f"([{_KEPT_MARKS}]{{2}})[{_KEPT_MARKS}]+")
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0E), *range(0xE0000, 0xE1000)))
)
"""Fillers, blanks and variation selectors: letters or marks by their category, nothing on the screen."""


def clean_text(text: str, limit: int, special_tokens: Sequence[str] = ()) -> str:
    """`text` without invisible characters and special tokens, its middle cut out beyond `limit` characters."""
    kept = "".join(character for character in clip(text, limit) if _visible(character))
    kept = _MARK_RUN.sub(r"\1", kept)
    # A space breaks a marker for good. Deleting it could join its neighbours into a new one.
    kept = _MARKER.sub(r"< \1", kept)
    for token in special_tokens:
        if len(token) > 1 and token in kept:
            kept = kept.replace(token, f"{token[0]} {token[1:]}")
    return kept


def escape_hidden(text: str) -> str:
    """`text` for a person who has to judge it: what would not be seen is written as `\\u{202e}`."""
    if text.isprintable() and _UNSEEN.isdisjoint(text):
        return text
    return "".join(c if _visible(c) and c not in _KEPT_MARKS else f"\\u{{{ord(c):x}}}" for c in text)


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
        tools=tuple(clean_tool(tool, special_tokens) for tool in server.tools),
        context={name: clean_text(fact, DESCRIPTION_CHARS, special_tokens) for name, fact in server.context.items()},
    )


def clean_tool(tool: ToolSpec, special_tokens: Sequence[str] = ()) -> ToolSpec:
    """`tool` with every text meant for reading cleaned, and nothing in its schema that cannot be seen."""
    return replace(
        tool,
        description=clean_text(tool.description, DESCRIPTION_CHARS, special_tokens),
        title=tool.title and clean_text(tool.title, DESCRIPTION_CHARS, special_tokens),
        input_schema=_Shown(special_tokens).schema(tool.input_schema, SCHEMA_DEPTH),
    )


class _Shown:
    """Schemas as the model may see them. Arguments are checked against the real one all the same."""

    def __init__(self, special_tokens: Sequence[str]) -> None:
        self.special_tokens = special_tokens

    def schema(self, schema: JSON, depth: int) -> JSON:
        """A subschema: words cleaned, names and choices that hide something left out, the rest as it is."""
        if isinstance(schema, list):
            return [self.schema(item, depth) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        if depth == 0:
            return {}
        shown: dict[str, JSON] = {}
        for key, value in schema.items():
            if key == "properties" and isinstance(value, Mapping):
                shown[key] = {
                    name: self.schema(part, depth - 1) for name, part in value.items() if _plain(name, NAME_CHARS)
                }
            elif key in ("description", "title", "default", "examples", "format"):
                shown[key] = self.words(value)
            elif key == "enum" and isinstance(value, list):
                choices = [choice for choice in value if _plain(choice, DESCRIPTION_CHARS)]
                shown |= {key: choices} if choices else {}
            elif key == "const":
                shown |= {key: value} if _plain(value, DESCRIPTION_CHARS) else {}
            else:
                shown[key] = self.schema(value, depth - 1)
        if isinstance(shown.get("required"), list):
            hidden = {*schema.get("properties", {})} - {*shown.get("properties", {})}
            shown["required"] = [name for name in shown["required"] if name not in hidden]
        return shown

    def words(self, value: JSON) -> JSON:
        """Texts of any shape that constrain nothing."""
        if isinstance(value, str):
            return clean_text(value, DESCRIPTION_CHARS, self.special_tokens)
        if isinstance(value, Mapping):
            return {clean_text(str(key), NAME_CHARS): self.words(part) for key, part in value.items()}
        return [self.words(part) for part in value] if isinstance(value, list) else value


def _plain(value: JSON, limit: int) -> bool:
    """Whether a name or choice is seen whole; a value that is no text is."""
    return not isinstance(value, str) or (len(value) <= limit and all(map(_visible, value)))


def _visible(character: str) -> bool:
    if character in "\n\t" or character in _KEPT_MARKS:
        return True
    return character not in _UNSEEN and unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
