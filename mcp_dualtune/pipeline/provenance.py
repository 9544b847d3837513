"""Where every value of the arguments came from.

Owns the search for a value in the request, the history, the context and the schema. It changes no value and blocks
none: a value found nowhere is marked `model`, and others decide what that means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from mcp_dualtune.catalog.schema import leaf_paths, path_text
from mcp_dualtune.prompting.listings import with_folders
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON, HistoryItem, Provenance, Request, canonical

SHORT = 3
"""Strings shorter than this count as found only when they stand alone, not inside a word."""

_UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {
    **{word: index for index, word in enumerate(_UNITS)},
    **{word: 20 + 10 * index for index, word in enumerate(_TENS)},
    "once": 1,
    "twice": 2,
    "couple": 2,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
}
_SCALES = {"k": 1_000, "m": 1_000_000, "%": 0.01}
_DIGITS = re.compile(r"(?<![\w.])([-+]?\d{1,3}(?:[,_ ]\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?)(?:([kKmM%])(?!\w))?")
_NUMBER_WORDS = re.compile(
    r"\b(?:(" + "|".join(_TENS) + r")[- ](" + "|".join(_UNITS[1:10]) + r")|(" + "|".join(_WORDS) + r"))\b",
    re.IGNORECASE,
)


def trace_sources(
    arguments: Mapping[str, JSON],
    schema: Mapping[str, JSON],
    request: Request,
    facts: Mapping[str, str],
    fixed: Mapping[str, JSON],
) -> dict[str, Provenance]:
    """The source of every leaf of `arguments`, by its path (`edits[0].newText`)."""
    properties = schema.get("properties") or {}
    found: dict[str, Provenance] = {}
    for name, value in arguments.items():
        part = properties.get(name, {})
        for steps, leaf, leaf_schema in _leaves((name,), value, part):
            source = Provenance("fixed") if name in fixed else _source(leaf, leaf_schema, request, facts)
            found[path_text(steps)] = source
    return found


def belongs(path: str, name: str) -> bool:
    """Whether the leaf at `path` is part of the parameter `name`."""
    start = path_text((name,))
    return path == start or path.startswith((f"{start}.", f"{start}["))


def _source(value: JSON, schema: JSON, request: Request, facts: Mapping[str, str]) -> Provenance:
    span = find(value, request.text)
    if span is not None:
        return Provenance("request", span=span)
    step = _history_step(value, request.history)
    if step is not None:
        return Provenance("history", step=step)
    if any(find(value, fact) is not None for fact in facts.values()):
        return Provenance("context")
    return Provenance("schema") if _named_by_schema(value, schema) else Provenance("model")


def find(value: JSON, text: str) -> tuple[int, int] | None:
    """Characters [start, end) of `text` that say `value` (verbatim; numbers also in words or with separators)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _find_number(value, text)
    if not isinstance(value, str) or not value.strip():
        return None
    alone = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)
    if alone:
        return alone.span()
    start = text.find(value) if len(value) >= SHORT else -1
    return (start, start + len(value)) if start >= 0 else None


def _find_number(value: float, text: str) -> tuple[int, int] | None:
    for match in _DIGITS.finditer(text):
        plain = float(re.sub(r"[,_ ]", "", match[1]))
        # "20%" may be meant as 20 or as 0.2.
        if value in (plain, plain * _SCALES.get((match[2] or "").lower(), 1)):
            return match.span()
    for match in _NUMBER_WORDS.finditer(text):
        tens, unit, word = match.groups()
        spoken = _WORDS[tens.lower()] + _WORDS[unit.lower()] if tens else _WORDS[word.lower()]
        if spoken == value:
            return match.span()
    return None


def _history_step(value: JSON, history: Sequence[HistoryItem]) -> int | None:
    """The latest earlier step whose result, or else whose arguments, say `value`."""
    if value is None or isinstance(value, bool):
        return None
    for index in range(len(history) - 1, -1, -1):
        item = history[index]
        if find(value, with_folders(item)) is not None:
            return index
        if any(canonical(leaf) == canonical(value) for _, leaf in leaf_paths(item.call.arguments)):
            return index
    return None


def _named_by_schema(value: JSON, schema: JSON) -> bool:
    """Whether the schema itself lists `value`: const, enum, default, or the two values of a boolean."""
    if not isinstance(schema, Mapping):
        return False
    if isinstance(value, bool) and schema.get("type") == "boolean":
        return True
    listed = [schema[key] for key in ("const", "default") if key in schema] + list(schema.get("enum") or ())
    if any(canonical(item) == canonical(value) for item in listed):
        return True
    if value is None:
        kinds = schema.get("type")
        if kinds == "null" or (isinstance(kinds, list) and "null" in kinds):
            return True
    return any(_named_by_schema(value, option) for key in ("anyOf", "oneOf") for option in schema.get(key) or ())


def _leaves(
    steps: tuple[str | int, ...], value: JSON, schema: JSON
) -> Iterator[tuple[tuple[str | int, ...], JSON, JSON]]:
    """Every scalar or empty container under `value`, with the way to it and the part of the schema about it."""
    part = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves((*steps, str(key)), item, _within(part, "properties", str(key)))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves((*steps, index), item, _within(part, "items", None))
    else:
        yield steps, value, part


def _within(schema: Mapping[str, JSON], keyword: str, name: str | None) -> JSON:
    """The part of `schema` for a property or an item, looked for inside unions too."""
    found = schema.get(keyword)
    if isinstance(found, Mapping):
        inner = found if name is None else found.get(name)
        if inner is not None:
            return inner
    options = (*options_of(schema), *(schema.get("allOf") or ()))
    found_inside = (_within(option, keyword, name) for option in options if isinstance(option, Mapping))
    return next(filter(None, found_inside), {})
