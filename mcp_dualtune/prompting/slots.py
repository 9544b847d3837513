"""Slots: the places for plain values in a tool's arguments, and what its schema and its texts say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from mcp_dualtune.prompting.codes import code_format
from mcp_dualtune.prompting.globs import glob_format
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON, ToolSpec

OPTIONS = 16
"""Longer lists of options are left to the decoder."""
NESTED = 8
"""Objects with more properties are left to the decoder."""
SCALARS = ("string", "integer", "number", "boolean")
OPTION, BARE = r"['\"`]([A-Za-z][\w.+/-]{0,31})['\"`]", r"[A-Za-z][\w+-]{0,31}"
JOINED = r"\s*(?:,\s*(?:(?:or|and)\b\s*)?|[;|]\s*|\b(?:or|and)\b\s*)"
MEANING = r"(?:\s*\([^)]*\)|(?:(?!\b(?:or|and)\b)[^,;|/'\"`()]){0,60})"
LED = r"\b(?:one of|either|(?:must|can|may) be|(?:values?|options|choices|types|modes|kinds)(?: are| include)?):?"
LISTS = (
    re.compile(rf"(?:^|(?i:{LED}|:)\s*|[\[(])\W{{0,2}}({OPTION}{MEANING}(?:(?:{JOINED}|/){OPTION}{MEANING})+)"),
    re.compile(rf"(?i:{LED})\s+[\[({{]?({BARE}(?:{JOINED}{BARE})+)(?=[\])}}.;]|\s*\(|$)"),
    re.compile(rf":\s+({BARE}(?:{JOINED}{BARE}){{3,}})(?=[.;]|\s*\(|$)"),
    re.compile(r"(?:^|[(:\s])([A-Za-z][\w-]*(?:[/|][A-Za-z][\w-]*){2,})(?=[\s).,;]|$)"),
)
"""Options between quotation marks with or without their meaning, plain words, and words between strokes: at the
beginning, in brackets, or behind words that lead to a list."""
NOT_ALL = re.compile(
    r"(?:e\.g\.?|i\.e\.?|example|instance|such as|like|including|formats?|default(?:s to)?|if)\W*$", re.I
)
"""What stands before some of many values."""
OTHERWISE = re.compile(r"comma.separated|separated by|\bJSON\b|yyyy", re.IGNORECASE)
"""Texts whose lists are no options of one value."""
TOLD = 1000
"""Characters of a description that are looked at."""


@dataclass(frozen=True)
class Slot:
    """A place for plain values in a tool's arguments."""

    path: tuple[str, ...]
    """Names of properties from the outside in; `[]` for the items of a list."""
    schema: Mapping[str, JSON]
    required: bool

    @property
    def name(self) -> str:
        """In words, from the outside in."""
        return " ".join(spaced(part) for part in self.path if part != "[]")

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return "[]" in self.path


def tool_slots(tool: ToolSpec, names: Sequence[str]) -> list[Slot]:
    """The slots of the parameters `names`; what takes patterns or codes says so in its `format` (`globs`, `codes`)."""
    found = []
    for name in names:
        pattern = glob_format(tool, name)
        for slot in slots_of(tool.input_schema, name):
            free = slot.schema.get("type") == "string" and "enum" not in slot.schema
            form = (pattern or code_format(slot.name, slot.schema)) if free else None
            found.append(replace(slot, schema={**slot.schema, "format": form}) if form else slot)
    return found


def slots_of(schema: Mapping[str, JSON], name: str) -> list[Slot]:
    """The slots of the property `name`; empty when its values cannot all be read."""
    properties = schema.get("properties") or {}
    others = frozenset(properties.keys() - {name})
    return _Slots(others).of((name,), properties.get(name), name in (schema.get("required") or ()), "") or []


@dataclass(frozen=True)
class _Slots:
    """The slots of one parameter."""

    others: frozenset[str]
    """Names of the tool's other parameters: a description that lists some of these lists no options."""

    def of(self, path: tuple[str, ...], schema: JSON, required: bool, about: str) -> list[Slot] | None:
        """The slots at `path` and below; None where some value cannot be read."""
        part = opened(schema) or (one_or_more(schema) if len(path) == 1 else {})
        described = part.get("description")
        about = described if isinstance(described, str) and described else about
        if part.get("type") == "array":
            return None if path.count("[]") == 2 else self.of((*path, "[]"), part.get("items"), required, about)
        properties = part.get("properties")
        if part.get("type") == "object" and isinstance(properties, Mapping) and 0 < len(properties) <= NESTED:
            inner = part.get("required") or ()
            found = [self.of((*path, name), one, required and name in inner, about) for name, one in properties.items()]
            return None if None in found else [slot for slots in found for slot in slots or ()]
        told = told_options(about, self.others) if part.get("type") == "string" and "enum" not in part else ()
        part = {**part, "enum": list(told)} if 1 < len(told) <= OPTIONS else part
        options = part.get("enum")
        readable = len(options) <= OPTIONS if isinstance(options, list) else part.get("type") in SCALARS
        return [Slot(path, {**part, "description": about}, required)] if readable else None


def values_of(slot: Slot, arguments: Mapping[str, JSON]) -> list[JSON]:
    """The values that `arguments` have for `slot`, in order."""
    found: list[JSON] = [arguments]
    for name in slot.path:
        if name == "[]":
            found = [item for one in found for item in (one if isinstance(one, list) else [one])]
        else:
            found = [one[name] for one in found if isinstance(one, Mapping) and name in one]
    return found


def opened(schema: JSON) -> Mapping[str, JSON]:
    """The one option of a union with `null`, or the schema itself."""
    if not isinstance(schema, Mapping):
        return {}
    if options := options_of(schema):
        return {**schema, "anyOf": None, "oneOf": None, **options[0]} if len(options) == 1 else {}
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"]
        return {**schema, "type": kinds[0]} if len(kinds) == 1 else {}
    return schema


def one_or_more(schema: JSON) -> Mapping[str, JSON]:
    """The list in a union of one value and a list of such values (`string | string[]`); empty for other schemas."""
    options = options_of(schema)
    lists = [o for o in options if o.get("type") == "array" and isinstance(o.get("items"), Mapping)]
    kinds = {str(o.get("type")) for o in options if o.get("type") in SCALARS}
    if len(options) != 2 or len(lists) != 1 or kinds != {str(lists[0]["items"].get("type"))}:
        return {}
    return {"description": schema.get("description"), **lists[0]}


@lru_cache(maxsize=4096)
def told_options(text: str, others: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The options that a parameter's description lists, at least two; names of the `others` are hardly options."""
    text = text[:TOLD]
    for pattern in () if OTHERWISE.search(text) else LISTS:
        for found in pattern.finditer(text):
            listed = re.findall(OPTION, found[1]) if pattern is LISTS[0] else re.split(rf"{JOINED}|[/|]", found[1])
            options = tuple(dict.fromkeys(option for option in listed if option))
            before = text[: found.start(1)]
            pair_of_words = pattern is LISTS[1] and len(listed) == 2 and " and " in found[1]
            about_others = any(name in others for name in re.findall(r"`([^`]+)`", before))
            more = pattern is LISTS[0] and not set(options).issuperset(re.findall(OPTION, text))
            own = [option for option in options if option not in others]
            if len(own) > 1 and not (pair_of_words or about_others or more or NOT_ALL.search(before)):
                return options
    return ()
