"""JSON schemas as short text a model can read: `paths*: string[] - files to read`.

Owns wording and length; it does not decide which parameters are shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcp_dualtune.types import JSON

DEPTH = 4
"""Nested objects below this depth are written as `object`."""
ENUM_VALUES = 24
"""More enum values than this are cut with an ellipsis."""


def type_text(schema: JSON, depth: int = 0) -> str:
    """A schema as a type in the style of TypeScript: `"asc"|"desc"`, `{name*: string}[]`, `integer|null`."""
    if not isinstance(schema, Mapping):
        return "any"
    if "const" in schema:
        return literal_text(schema["const"])
    if isinstance(schema.get("enum"), list):
        values = [literal_text(value) for value in schema["enum"]]
        return "|".join(values[:ENUM_VALUES] + (["…"] if len(values) > ENUM_VALUES else []))
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            return "|".join(dict.fromkeys(type_text(option, depth) for option in schema[keyword]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return "|".join(dict.fromkeys(type_text({**schema, "type": one}, depth) for one in kind))
    if kind == "array":
        item = type_text(schema.get("items", True), depth + 1)
        return f"({item})[]" if "|" in item else f"{item}[]"
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        if depth >= DEPTH or not properties:
            return "object"
        required = set(schema.get("required") or ())
        inner = ", ".join(
            f"{name}{'*' if name in required else ''}: {type_text(value, depth + 1)}"
            for name, value in properties.items()
        )
        return "{" + inner + "}"
    return str(kind) if isinstance(kind, str) else "any"


def literal_text(value: JSON) -> str:
    """An enum value as it is shown to the model: strings bare, the rest as JSON would."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def one_line(text: str) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(text.split())
