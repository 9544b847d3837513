"""The arguments answer: how it is written for training, constrained while decoding, and read back.

Two styles, chosen by the template:

- *filled*: every parameter in schema order with a value, `<|skip|>` (optional, not wanted) or `<|ask|>` (required, not
  in the request): `{"path":<|copy|> notes/a.md<|copy|>, "head":<|skip|>}`. Each parameter is one small decision, which
  a tiny model learns far more easily than which key comes next. Text between two `<|copy|>` is taken letter by letter
  from the request, the context or an earlier result: the grammar allows nothing else there, so the model cannot garble
  a path it copies. Free strings that it writes itself start with one extra space, as words inside a sentence do.
- *plain*: ordinary JSON without the optional parameters that are not wanted; a missing required value is the string
  `"<|ask|>"`. This is what chat models already know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_dualtune.errors import GrammarError
from mcp_dualtune.prompting.decodable import decodable, is_free_string
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON

ASK = "<|ask|>"
SKIP = "<|skip|>"
COPY = "<|copy|>"
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
PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|<\|copy\|>(?P<copied>.*?)<\|copy\|>|(?P<marker><\|(?:ask|skip)\|>)', re.DOTALL)
"""Strings are matched whole, so that markers are found outside strings only."""
CHUNK = re.compile(r"\s|[#@$](?=\w)|[\w\-./\\~%+*{}&?^]*[\w/\\~*%+{}]|.", re.DOTALL)
"""What a copied value may begin and end with: white space, words with their inner marks, single marks."""
FILLED_OBJECT = 8
"""Objects inside arguments with at most this many properties are filled in one by one, too."""


@dataclass(frozen=True)
class ParsedArguments:
    """What the model filled in."""

    arguments: dict[str, JSON]
    missing: tuple[str, ...]
    """Required parameters the model says are not in the request."""


def split_markers(text: str) -> Iterator[tuple[bool, str]]:
    """An answer's text in pieces: (whether it is a marker, the piece)."""
    at = 0
    for found in PIECE.finditer(text):
        if found["marker"] is None and found["copied"] is None:
            continue
        yield False, text[at : found.start()]
        if found["marker"]:
            yield True, found["marker"]
        else:
            yield from ((True, COPY), (False, found["copied"]), (True, COPY))
        at = found.end()
    yield False, text[at:]


class Filled:
    """The style of the embedded model."""

    def write(
        self, schema: Mapping[str, JSON], arguments: Mapping[str, JSON], missing: Sequence[str], sources: Sequence[str]
    ) -> str:
        """The answer text; `sources` are the texts that values may have been copied from (request first)."""
        return _write_object(arguments, schema, missing, sources)

    def grammar(self, schema: Mapping[str, JSON], sources: Sequence[str]) -> str:
        """llguidance Lark text for the whole answer; `sources` are the texts that values may be copied from."""
        return _FilledGrammar(schema, sources).text

    def json_schema(self, schema: Mapping[str, JSON]) -> JSON:
        """None: these answers are more than JSON."""
        return None

    def parse(self, text: str, schema: Mapping[str, JSON]) -> ParsedArguments:
        """Read an answer back.

        Raises:
            GrammarError: the text is not a complete answer.
        """

        def as_json(found: re.Match[str]) -> str:
            if found["copied"] is not None:
                return " " + json.dumps(" " + found["copied"].strip())
            return json.dumps({found["marker"]: 1}) if found["marker"] else found[0]

        values = _without_skipped(_load(PIECE.sub(as_json, text), text))
        properties = schema.get("properties", {})
        return ParsedArguments(
            {name: _unspaced(value, properties.get(name)) for name, value in values.items() if value != {ASK: 1}},
            tuple(name for name, value in values.items() if value == {ASK: 1}),
        )


class _FilledGrammar:
    """Collects the rules of one answer."""

    def __init__(self, schema: Mapping[str, JSON], sources: Sequence[str]) -> None:
        self._rules: list[str] = []
        chunked = [CHUNK.findall(source) for source in sources if source.strip() and COPY not in source]
        for number, chunks in enumerate(chunked):
            self._rules.append(f"S{number}: %regex " + json.dumps({"substring_chunks": chunks}))
        self._copies = bool(chunked)
        if chunked:
            either = " | ".join(f"S{number}" for number in range(len(chunked)))
            self._rules.append(f"S: ({either}) & /(?s:.*\\S.*)/")
        body = self._object(schema, ASK)
        self.text = "\n".join([f"start: {body}", *self._rules])

    def _object(self, schema: Mapping[str, JSON], unless_given: str) -> str:
        """An object with all its properties in order; `unless_given` may stand for a required value."""
        required = set(schema.get("required") or ())
        members = []
        for name, part in schema.get("properties", {}).items():
            special = SKIP if name not in required else unless_given
            key, copied, plain = json.dumps(json.dumps(name) + ":"), self._copied(part), self._plain(part)
            choices = " | ".join(choice for choice in (special, copied, f'" " {plain}') if choice)
            members.append(self._rule(f"{key} ( {choices} )"))
        return '"{" ' + ' ", " '.join(members) + ' "}"'

    def _copied(self, schema: JSON) -> str:
        return f"{COPY} S {COPY}" if self._copies and _is_text(_opened(schema)) else ""

    def _plain(self, schema: JSON) -> str:
        """A value that the model writes itself."""
        whole, schema = schema, _opened(schema)
        if _is_list(schema):
            items = schema["items"]
            copied = self._copied(items)
            item = self._rule(f"{copied} | {self._plain(items)}" if copied else self._plain(items))
            least, most = int(schema.get("minItems") or 0), schema.get("maxItems")
            most = None if most is None or most < least else int(most)  # contradictory lengths are the server's mistake
            if most == 0:
                return self._rule('"[" "]"')
            more = f"{max(least - 1, 0)},{'' if most is None else most - 1}"
            some = item if most == 1 else f'{item} ( ", " {item} ){{{more}}}'
            return self._rule(f'"[" {some} "]"' if least else f'"[" ( {some} )? "]"')
        if _is_filled(schema):
            return self._rule(self._object(schema, ""))
        return self._rule(f"%json {_json_rule(decodable(whole, spaced=True))}")

    def _rule(self, body: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name


def _opened(schema: JSON) -> JSON:
    """The one structured option of a union with `null`, or the schema itself."""
    options = options_of(schema)
    return options[0] if len(options) == 1 else schema


def _is_text(schema: JSON) -> bool:
    return is_free_string(schema) and schema.get("type") in ("string", ["string", "null"])


def _is_list(schema: JSON) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "array" and isinstance(schema.get("items"), Mapping)


def _is_filled(schema: JSON) -> bool:
    """Whether an object inside arguments is filled in property by property."""
    return (
        isinstance(schema, Mapping)
        and schema.get("type") == "object"
        and 0 < len(schema.get("properties") or ()) <= FILLED_OBJECT
        and not any(keyword in schema for keyword in ("anyOf", "oneOf", "allOf", "enum", "const"))
    )


def _write(value: JSON, schema: JSON, sources: Sequence[str], gap: str) -> str:
    """One value after `gap`; copied text has no gap, because the copy starts with its own space."""
    whole, schema = schema, _opened(schema)
    if isinstance(value, str) and _is_text(schema):
        copied = copied_text(value, sources)
        return gap + _dump(" " + value) if copied is None else COPY + copied + COPY
    if isinstance(value, list) and _is_list(schema):
        return gap + "[" + ", ".join(_write(item, schema["items"], sources, "") for item in value) + "]"
    if isinstance(value, dict) and _is_filled(schema) and value.keys() <= schema["properties"].keys():
        return gap + _write_object(value, schema, (), sources)
    return gap + _dump(_spaced(value, whole))


def _write_object(
    values: Mapping[str, JSON], schema: Mapping[str, JSON], missing: Sequence[str], sources: Sequence[str]
) -> str:
    """An object with all its properties in order."""
    members = []
    for name, part in schema.get("properties", {}).items():
        if name in missing:
            member = ASK
        elif name in values:
            member = _write(values[name], part, sources, " ")
        else:
            member = SKIP
        members.append(f"{json.dumps(name)}:{member}")
    return "{" + ", ".join(members) + "}"


def copied_text(value: str, sources: Sequence[str]) -> str | None:
    """`value` as it stands in a source, with the space before it; None where no source has it between chunk borders."""
    if not value.strip() or value != value.strip():
        return None
    for source in sources:
        if COPY in source:
            continue
        at = source.find(value)
        if at < 0:
            continue
        borders = {0}
        for found in CHUNK.finditer(source):
            borders.add(found.end())
        while at >= 0:
            if at in borders and at + len(value) in borders:
                return value if at > 0 and not source[at - 1].isspace() else " " + value
            at = source.find(value, at + 1)
    return None


def _without_skipped(value: JSON) -> Any:
    if isinstance(value, dict):
        return {name: _without_skipped(item) for name, item in value.items() if item != {SKIP: 1}}
    return [_without_skipped(item) for item in value] if isinstance(value, list) else value


class Plain:
    """The style of chat models."""

    def write(
        self, schema: Mapping[str, JSON], arguments: Mapping[str, JSON], missing: Sequence[str], sources: Sequence[str]
    ) -> str:
        """The answer text: JSON in schema order."""
        properties = schema.get("properties", {})
        ordered = {n: ASK if n in missing else arguments[n] for n in properties if n in missing or n in arguments}
        return _dump(ordered)

    def grammar(self, schema: Mapping[str, JSON], sources: Sequence[str]) -> str:
        """llguidance Lark text for the whole answer."""
        return "start: %json " + _json_rule(self.json_schema(schema))

    def json_schema(self, schema: Mapping[str, JSON]) -> JSON:
        """The answers as a JSON Schema."""
        closed = decodable({**schema, "additionalProperties": False}, spaced=False)
        required = set(closed.get("required") or ())
        properties = {
            name: {"anyOf": [part, {"const": ASK}]} if name in required else part
            for name, part in closed.get("properties", {}).items()
        }
        return {**closed, "properties": properties}

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
    # llguidance holds DEL for a control character, json does not.
    return json.dumps(value, ensure_ascii=False, separators=SEPARATORS).replace("\x7f", "\\u007f")


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


def _spaced(value: JSON, schema: JSON) -> JSON:
    return _map_strings(value, _options_open(schema), lambda text: " " + text)


def _unspaced(value: JSON, schema: JSON) -> JSON:
    return _map_strings(value, _options_open(schema), lambda text: text.removeprefix(" "))


def _options_open(schema: JSON) -> JSON:
    """`schema` with the first structured option of a union standing for the union (enough to find its strings)."""
    if not isinstance(schema, Mapping):
        return schema
    if options := options_of(schema):
        return _options_open(options[0])
    if "items" in schema:
        return {**schema, "items": _options_open(schema["items"])}
    if "properties" in schema:
        return {**schema, "properties": {k: _options_open(v) for k, v in schema["properties"].items()}}
    return schema
