"""An input schema as the decoder can enforce it.

Owns what is left out because llguidance cannot enforce it or because nothing could satisfy it; the full schema is
checked once the arguments are complete. Refuses to own: cleaning for everyone (`catalog`), the answer's form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from mcp_dualtune.types import JSON

TEXT_RULES = ("pattern", "format", "minLength", "maxLength")
LOOKS_AROUND = re.compile(r"\(\?(?![:imsxuU-]|P?<[A-Za-z_])|\\[0-9bBAzZGkK]")
"""What a pattern may not hold: look-around, back references, word boundaries, anchors in other words."""
LARGEST = 1e15
"""Bounds beyond this are no bounds: `maximum: 1.8e308` cannot be written as a number grammar."""
_TYPES = Draft202012Validator.TYPE_CHECKER
RANGES = (
    ("minimum", "maximum", False), ("exclusiveMinimum", "maximum", True), ("minimum", "exclusiveMaximum", True),
    ("exclusiveMinimum", "exclusiveMaximum", True), ("minLength", "maxLength", False), ("minItems", "maxItems", False),
    ("minProperties", "maxProperties", False),
)  # fmt: skip


def is_free_string(schema: JSON) -> bool:
    """Whether any text may stand here (no enum, no const), so that values are copied from the request."""
    return isinstance(schema, Mapping) and not ({"enum", "const"} & schema.keys())


def decodable(schema: JSON, *, spaced: bool, open_object: bool = False) -> JSON:
    """`schema` without what the decoder cannot enforce.

    With `spaced`, rules on free strings go too: the extra space in front of them would break them. An object that
    declares its properties takes no others, unless it says so itself, or `open_object` does because it is one side of
    a union whose other keywords bring more.
    """
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = dict(schema)
    if spaced and is_free_string(kept):
        for rule in TEXT_RULES:
            kept.pop(rule, None)
    if not _is_regular(kept.get("pattern", "")):
        del kept["pattern"]
    _reconcile(kept)
    union = "anyOf" in kept or "oneOf" in kept
    for keyword in ("items", "additionalProperties"):
        if keyword in kept:
            kept[keyword] = decodable(kept[keyword], spaced=spaced)
    if isinstance(kept.get("prefixItems"), list):
        kept["prefixItems"] = [decodable(item, spaced=spaced) for item in kept["prefixItems"]]
    for keyword in ("anyOf", "oneOf"):
        if isinstance(kept.get(keyword), list):
            inside = open_object or "properties" in kept
            kept[keyword] = [decodable(option, spaced=spaced, open_object=inside) for option in kept[keyword]]
    if isinstance(kept.get("patternProperties"), Mapping):
        patterns = kept["patternProperties"].items()
        kept["patternProperties"] = {k: decodable(v, spaced=spaced) for k, v in patterns if _is_regular(k)}
    if isinstance(kept.get("properties"), Mapping) and kept["properties"]:
        kept["properties"] = {k: decodable(v, spaced=spaced) for k, v in kept["properties"].items()}
        if not (union or open_object or "patternProperties" in kept):
            kept.setdefault("additionalProperties", False)
    if kept.get("additionalProperties") is False and isinstance(kept.get("required"), list):
        kept["required"] = [name for name in kept["required"] if name in kept.get("properties", {})]
    return kept


def _is_regular(pattern: JSON) -> bool:
    return isinstance(pattern, str) and not LOOKS_AROUND.search(pattern.replace("\\\\", ""))


def _reconcile(kept: dict[str, Any]) -> None:
    """Drop rules that contradict each other: no value would be left to decode."""
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if name in kept and not abs(kept[name]) <= LARGEST:
            del kept[name]
    for low, high, strict in RANGES:
        if low in kept and high in kept and (kept[low] >= kept[high] if strict else kept[low] > kept[high]):
            del kept[low], kept[high]
    if isinstance(kept.get("enum"), list) and "type" in kept:
        kinds = kept["type"] if isinstance(kept["type"], list) else [kept["type"]]
        kept["enum"] = [value for value in kept["enum"] if any(_TYPES.is_type(value, kind) for kind in kinds)]
    if kept.get("enum") == []:
        del kept["enum"]
