"""The arguments answer: how it is written for training, constrained while decoding, and read back.

Two styles, chosen by the template:

- *filled*: every parameter in schema order with a value, `<|skip|>` (optional, not wanted) or `<|ask|>` (required, not
  in the request): `{"path": " notes/a.md", "head":<|skip|>}`. Each parameter is one small decision, which a tiny model
  learns far more easily than which key comes next. A free string starts with one extra space when the text it was
  copied from stood after a space, so that copying is the same token sequence on both sides; reading takes it off again.
- *plain*: ordinary JSON without the optional parameters that are not wanted; a missing required value is the string
  `"<|ask|>"`. This is what chat models already know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_dualtune.errors import GrammarError
from mcp_dualtune.prompting.decodable import decodable, is_free_string
from mcp_dualtune.types import JSON

ASK = "<|ask|>"
SKIP = "<|skip|>"
SEPARATORS = (", ", ": ")
GUIDANCE = {
    "item_separator": SEPARATORS[0],
    "key_separator": SEPARATORS[1],
    "whitespace_flexible": False,
    "lenient": True,
    "coerce_one_of": True,
}
"""llguidance's JSON options: fixed separators, so that everything but the values is forced; keywords it does not know
are left to the check of the complete arguments."""
STRING_OR_MARKER = re.compile(r'"(?:[^"\\]|\\.)*"|(<\|(?:ask|skip)\|>)')
"""Strings are matched whole, so that group 1 finds markers outside strings only."""


@dataclass(frozen=True)
class ParsedArguments:
    """What the model filled in."""

    arguments: dict[str, JSON]
    missing: tuple[str, ...]
    """Required parameters the model says are not in the request."""


def split_markers(text: str) -> list[str]:
    """An answer's text cut at its markers; the odd pieces are markers, the even ones plain text."""
    pieces, at = [], 0
    for found in STRING_OR_MARKER.finditer(text):
        if found[1]:
            pieces += [text[at : found.start()], found[1]]
            at = found.end()
    return [*pieces, text[at:]]


class Filled:
    """The style of the embedded model."""

    def write(
        self, schema: Mapping[str, JSON], arguments: Mapping[str, JSON], missing: Sequence[str], sources: Sequence[str]
    ) -> str:
        """The answer text; `sources` are the texts that values may have been copied from (request first)."""
        members = []
        for name, part in schema.get("properties", {}).items():
            if name in missing:
                members.append(f"{json.dumps(name)}:{ASK}")
            elif name in arguments:
                value = _spaced(arguments[name], part, sources)
                members.append(f"{json.dumps(name)}: {_dump(value)}")
            else:
                members.append(f"{json.dumps(name)}:{SKIP}")
        return "{" + ", ".join(members) + "}"

    def grammar(self, schema: Mapping[str, JSON]) -> str:
        """llguidance Lark text for the whole answer."""
        required = set(schema.get("required") or ())
        members, rules = [], []
        for index, (name, part) in enumerate(schema.get("properties", {}).items()):
            special = ASK if name in required else SKIP
            members.append(f"p{index}")
            key = json.dumps(json.dumps(name) + ":")
            rules.append(f'p{index}: {key} ( {special} | " " v{index} )')
            rules.append(f"v{index}: %json {_json_rule(decodable(part, spaced=True))}")
        return "\n".join(['start: "{" ' + ' ", " '.join(members) + ' "}"', *rules])

    def parse(self, text: str, schema: Mapping[str, JSON]) -> ParsedArguments:
        """Read an answer back.

        Raises:
            GrammarError: the text is not a complete answer.
        """
        pieces = split_markers(text)
        pieces[1::2] = [json.dumps({marker: 1}) for marker in pieces[1::2]]
        values = _load("".join(pieces), text)
        properties = schema.get("properties", {})
        return ParsedArguments(
            {
                name: _unspaced(value, properties.get(name))
                for name, value in values.items()
                if value not in ({ASK: 1}, {SKIP: 1})
            },
            tuple(name for name, value in values.items() if value == {ASK: 1}),
        )


class Plain:
    """The style of chat models."""

    def write(
        self, schema: Mapping[str, JSON], arguments: Mapping[str, JSON], missing: Sequence[str], sources: Sequence[str]
    ) -> str:
        """The answer text: JSON in schema order."""
        properties = schema.get("properties", {})
        ordered = {n: ASK if n in missing else arguments[n] for n in properties if n in missing or n in arguments}
        return _dump(ordered)

    def grammar(self, schema: Mapping[str, JSON]) -> str:
        """llguidance Lark text for the whole answer."""
        closed = decodable({**schema, "additionalProperties": False}, spaced=False)
        required = set(closed.get("required") or ())
        properties = {
            name: {"anyOf": [part, {"const": ASK}]} if name in required else part
            for name, part in closed.get("properties", {}).items()
        }
        return "start: %json " + _json_rule({**closed, "properties": properties})

    def parse(self, text: str, schema: Mapping[str, JSON]) -> ParsedArguments:
        """Read an answer back.

        Raises:
            GrammarError: the text is not a complete answer.
        """
        values = _load(text, text)
        return ParsedArguments(
            {name: value for name, value in values.items() if value != ASK},
            tuple(name for name, value in values.items() if value == ASK),
        )


def _dump(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=SEPARATORS)


def _load(text: str, shown: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise GrammarError(
            f"The model's arguments are not complete JSON: {shown[:120]!r}.",
            hint="Ask again in fewer words, or name the values one by one.",
        ) from error
    if not isinstance(value, dict):
        raise GrammarError(f"The model's arguments are not an object: {shown[:120]!r}.", hint="Ask in other words.")
    return value


def _json_rule(schema: JSON) -> str:
    return json.dumps({**(schema if isinstance(schema, Mapping) else {}), "x-guidance": GUIDANCE})


def _map_strings(value: JSON, schema: JSON, change: Any) -> JSON:
    """`value` with `change` applied to every free string in it."""
    if isinstance(value, str):
        return change(value) if is_free_string(schema) else value
    part = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, list):
        items = part.get("items", {})
        return [_map_strings(item, items, change) for item in value]
    if isinstance(value, dict):
        properties = part.get("properties", {})
        # Constrained decoding writes declared keys in schema order.
        ordered = [key for key in properties if key in value] + [key for key in value if key not in properties]
        return {key: _map_strings(value[key], properties.get(key, {}), change) for key in ordered}
    return value


def _spaced(value: JSON, schema: JSON, sources: Sequence[str]) -> JSON:
    def change(text: str) -> str:
        if text.startswith(" "):
            return " " + text  # its own space must survive reading
        for source in sources:
            at = source.find(text)
            if at >= 0:
                return text if at > 0 and not source[at - 1].isspace() else " " + text
        return " " + text

    return _map_strings(value, _options_open(schema), change)


def _unspaced(value: JSON, schema: JSON) -> JSON:
    return _map_strings(value, _options_open(schema), lambda text: text.removeprefix(" "))


def _options_open(schema: JSON) -> JSON:
    """`schema` with the first structured option of a union standing for the union (enough to find its strings)."""
    if not isinstance(schema, Mapping):
        return schema
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list):
            structured = [option for option in options if isinstance(option, Mapping) and option.get("type") != "null"]
            if structured:
                return _options_open(structured[0])
    if "items" in schema:
        return {**schema, "items": _options_open(schema["items"])}
    if "properties" in schema:
        return {**schema, "properties": {k: _options_open(v) for k, v in schema["properties"].items()}}
    return schema
