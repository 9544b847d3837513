"""Merge the parts of an `allOf` into one schema where that is simple and exact.

Owns the merge rules. Refuses to own: parts that contradict or restrict each other in ways one schema cannot say; they
stay in an `allOf`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcp_dualtune.types import JSON, canonical

Schema = dict[str, JSON]

_WORDS = ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly")
"""Annotations: they restrict nothing, so the outer one wins."""
_STRICTER = {
    "minimum": max, "exclusiveMinimum": max, "minLength": max, "minItems": max, "minProperties": max,
    "maximum": min, "exclusiveMaximum": min, "maxLength": min, "maxItems": min, "maxProperties": min,
}  # fmt: skip
_LOOKS_AROUND = ("additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames")
"""What these mean depends on the properties beside them, so they cannot move between schemas."""


def merge_all(schema: Schema, parts: Sequence[Schema]) -> Schema:
    """Give `schema` with every one of `parts` merged in; those that do not merge are kept under `allOf`."""
    merged, left = dict(schema), list(schema.get("allOf", ()))
    for part in parts:
        both = _merge(merged, part)
        if both is None:
            left.append(part)
        else:
            merged = both
    if left:
        merged["allOf"] = left
    return merged


def _merge(first: Schema, second: Schema) -> Schema | None:
    """One schema that says the same as both together, or None."""
    for one, other in ((first, second), (second, first)):
        new = set(other.get("properties", ())) - set(one.get("properties", ()))
        if any(key in one for key in _LOOKS_AROUND) and (new or any(key in other for key in _LOOKS_AROUND)):
            return None
    merged = dict(first)
    for key, value in second.items():
        if key not in merged:
            merged[key] = value
            continue
        mine = merged[key]
        if key in _WORDS or canonical(mine) == canonical(value):
            continue
        joined = _merge_keyword(key, mine, value)
        if joined is None:
            return None
        merged[key] = joined
    return merged


def _merge_keyword(key: str, mine: JSON, other: JSON) -> JSON | None:
    if key == "required" and isinstance(mine, list) and isinstance(other, list):
        return list(dict.fromkeys([*mine, *other]))
    if key == "properties" and isinstance(mine, dict) and isinstance(other, dict):
        joined = dict(mine)
        for name, part in other.items():
            both = _merge(joined[name], part) if name in joined else part
            if both is None:
                return None
            joined[name] = both
        return joined
    if key in _STRICTER and isinstance(mine, int | float) and isinstance(other, int | float):
        return _STRICTER[key](mine, other)
    if key == "type":
        kinds, others = ([kind] if isinstance(kind, str) else list(kind) for kind in (mine, other))
        both = [kind for kind in kinds if kind in others]
        if "integer" in kinds + others and "number" in kinds + others and "integer" not in both:
            both.append("integer")
        return None if not both else both[0] if len(both) == 1 else both
    if key == "enum" and isinstance(mine, list) and isinstance(other, list):
        return [value for value in mine if canonical(value) in [canonical(item) for item in other]] or None
    return None
