"""Make one plain, self-contained Draft 2020-12 schema of whatever a server calls its input schema.

Owns references, old dialects and common slips. Refuses to own: checking arguments (`schema`), wording for the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from mcp_dualtune.catalog.merging import merge_all
from mcp_dualtune.errors import CatalogError
from mcp_dualtune.types import JSON

Schema = dict[str, JSON]

MAX_NODES = 20_000
"""Subschemas after all references are written out; a small text can otherwise stand for an endless one."""
MAX_DEPTH = 60
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "prefixItems")
_SINGLES = ("contains", "propertyNames", "not", "if", "then", "else")
_BOOLEAN_KEPT = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems")
_DROPPED = ("$schema", "$id", "id", "$anchor", "$comment", "$defs", "definitions", "$vocabulary", "nullable")
_TYPE_SLIPS = {
    "int": "integer", "long": "integer", "float": "number", "double": "number", "bool": "boolean", "str": "string",
    "text": "string", "dict": "object", "map": "object", "list": "array", "any": None,
}  # fmt: skip
_HINT = "Ask the server's author to correct the tool's input schema."


def clean_schema(raw: JSON) -> Schema:
    """Give an equivalent schema without references whose root is an object with `properties`.

    A missing, empty or non-object schema becomes the schema of no parameters; a recursive reference is cut to the type
    of its target; a pattern that Python cannot compile is left for the server to check.

    Raises:
        CatalogError: the schema is not valid, refers to something that is not in it, or is too large.
    """
    if raw is None or raw is True or raw == {}:
        return {"type": "object", "properties": {}}
    if not isinstance(raw, Mapping):
        raise CatalogError(f"The input schema is not an object but {type(raw).__name__}.", hint=_HINT)
    try:
        schema = _Cleaner(raw).clean(raw, (), 0)
    except RecursionError as error:
        raise CatalogError("The input schema is nested too deeply.", hint=_HINT) from error
    kind = schema.get("type")
    if kind is not None and kind != "object" and not (isinstance(kind, list) and "object" in kind):
        return {"type": "object", "properties": {}}
    schema = {"type": "object", "properties": {}, **schema}
    schema["type"] = "object"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.path) or "its root"
        raise CatalogError(f"The input schema is not valid at {where}: {error.message[:200]}.", hint=_HINT) from error
    return schema


class _Cleaner:
    def __init__(self, root: Mapping[str, JSON]) -> None:
        self.root, self.nodes = root, 0

    def clean(self, raw: JSON, above: tuple[str, ...], depth: int) -> Schema:
        """Clean one subschema; `above` holds the references being written out around it."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise CatalogError("The input schema is too large once its references are written out.", hint=_HINT)
        if isinstance(raw, bool):
            return {} if raw else {"not": {}}
        if not isinstance(raw, Mapping):
            raise CatalogError(f"A part of the input schema is {type(raw).__name__}, not an object.", hint=_HINT)
        if "$ref" in raw or "$dynamicRef" in raw:
            return self.follow(raw, above, depth)
        schema = _modern(dict(raw))
        for key in [key for key in schema if key in _DROPPED]:
            del schema[key]
        for key in _MAPS:
            if key in schema:
                schema[key] = {name: self.clean(part, above, depth + 1) for name, part in _map(schema, key).items()}
        for key in _SINGLES:
            if key in schema:
                schema[key] = self.clean(schema[key], above, depth + 1)
        for key in _BOOLEAN_KEPT:
            if key in schema and not isinstance(schema[key], bool):
                schema[key] = self.clean(schema[key], above, depth + 1)
        for key in _LISTS:
            if key in schema:
                schema[key] = [self.clean(part, above, depth + 1) for part in _list(schema, key)]
        parts = [self.clean(part, above, depth + 1) for part in _list(schema, "allOf")] if "allOf" in schema else []
        schema.pop("allOf", None)
        return _simple_unions(merge_all(schema, parts))

    def follow(self, raw: Mapping[str, JSON], above: tuple[str, ...], depth: int) -> Schema:
        reference = raw.get("$ref", raw.get("$dynamicRef"))
        beside = {key: value for key, value in raw.items() if key not in ("$ref", "$dynamicRef")}
        target = self.find(reference)
        if reference in above:
            known = target if isinstance(target, Mapping) else {}
            cut = {key: known[key] for key in ("type", "title", "description") if key in known}
            return {
                **_modern(cut),
                **{key: beside[key] for key in ("title", "description", "default") if key in beside},
            }
        found = self.clean(target, (*above, str(reference)), depth + 1)
        if not beside:
            return found
        return _simple_unions(merge_all(self.clean(beside, above, depth + 1), [found]))

    def find(self, reference: JSON) -> JSON:
        """What a local reference (`#`, `#/$defs/Name`, `#anchor`) points to."""
        missing = CatalogError(f"The input schema refers to {str(reference)[:100]!r}, which is not in it.", hint=_HINT)
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise missing
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            for block in ("$defs", "definitions"):
                named = self.root.get(block)
                for part in named.values() if isinstance(named, Mapping) else ():
                    if isinstance(part, Mapping) and pointer in (part.get("$anchor"), part.get("$dynamicAnchor")):
                        return part
            raise missing
        here: Any = self.root
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(here, Mapping) and name in here:
                here = here[name]
            elif isinstance(here, list) and name.isdigit() and int(name) < len(here):
                here = here[int(name)]
            else:
                raise missing
        return here


def _map(schema: Schema, key: str) -> Mapping[str, JSON]:
    if not isinstance(schema[key], Mapping):
        raise CatalogError(f"{key} of the input schema is not an object.", hint=_HINT)
    return dict(schema[key])


def _list(schema: Schema, key: str) -> list[JSON]:
    if not isinstance(schema[key], list) or not schema[key]:
        raise CatalogError(f"{key} of the input schema is not a list of schemas.", hint=_HINT)
    return list(schema[key])


def _modern(schema: Schema) -> Schema:
    """Turn the keywords of older drafts and of OpenAPI, and common slips, into Draft 2020-12."""
    kind = schema.get("type")
    if kind is None:
        schema.pop("type", None)
    if kind is not None and not isinstance(kind, str) and not _are_strings(kind):
        raise CatalogError("A type in the input schema is neither a name nor a list of names.", hint=_HINT)
    if isinstance(kind, str) and kind.lower() in _TYPE_SLIPS:
        kind = _TYPE_SLIPS[kind.lower()]
        schema.pop("type")
        schema |= {"type": kind} if kind else {}
    if schema.get("nullable") is True and isinstance(kind, str):
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
        if not schema["prefixItems"]:
            del schema["prefixItems"]
    schema.pop("additionalItems", None)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    old_dependencies = schema.pop("dependencies", {})
    for name, needs in (old_dependencies if isinstance(old_dependencies, Mapping) else {}).items():
        key = "dependentRequired" if isinstance(needs, list) else "dependentSchemas"
        schema[key] = {**(schema.get(key) or {}), name: needs}
    _hoist_required(schema)
    if "pattern" in schema and not _compiles(schema["pattern"]):
        del schema["pattern"]
    if isinstance(schema.get("patternProperties"), Mapping):
        kept = {pattern: part for pattern, part in schema["patternProperties"].items() if _compiles(pattern)}
        if len(kept) < len(schema["patternProperties"]):
            # What the lost pattern allowed must not now be forbidden.
            schema.pop("additionalProperties", None)
        schema["patternProperties"] = kept
    return schema


def _hoist_required(schema: Schema) -> None:
    """Move `required: true` inside a property (draft 3), or a list that slipped among the properties, to its place."""
    if isinstance(schema.get("required"), bool):
        del schema["required"]
    if not isinstance(schema.get("properties"), Mapping):
        return
    slipped = schema["properties"].get("required")
    if _are_strings(slipped):
        schema["properties"] = {name: part for name, part in schema["properties"].items() if name != "required"}
        schema["required"] = schema.get("required", slipped)
    inside = [
        name
        for name, part in schema["properties"].items()
        if isinstance(part, Mapping) and part.get("required") is True
    ]
    if inside:
        listed = schema.get("required") if isinstance(schema.get("required"), list) else []
        schema["required"] = list(dict.fromkeys([*(listed or []), *inside]))


def _simple_unions(schema: Schema) -> Schema:
    """Write `X or null` as one schema with two types, and a union of one as that one."""
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if not isinstance(options, list):
            continue
        others = [option for option in options if option != {"type": "null"}]
        if len(others) != 1:
            continue
        rest = {name: value for name, value in schema.items() if name != key}
        only = dict(others[0])
        if len(options) > 1:
            if not isinstance(only.get("type"), str) or "not" in only or "anyOf" in only or "oneOf" in only:
                continue
            only["type"] = [only["type"], "null"]
            if "const" in only:
                only["enum"] = [only.pop("const")]
            if isinstance(only.get("enum"), list) and None not in only["enum"]:
                only["enum"] = [*only["enum"], None]
        merged = merge_all(rest, [only])
        if "allOf" not in merged:
            return merged
    return schema


def _are_strings(value: JSON) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _compiles(pattern: JSON) -> bool:
    try:
        re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return True
