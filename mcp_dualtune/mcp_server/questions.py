"""What is asked of a person, as a flat form, and how the filled form becomes arguments.

Owns the form's JSON schema and the reading of answers. Refuses to own how the form travels: elicitation and the
terminal both use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON, ToolCall, ToolSpec

_KEPT = ("minimum", "maximum", "minLength", "maxLength")
_FORMATS = ("email", "uri", "date", "date-time")
_LIST_NOTE = "Several values: write a JSON list, or separate them with commas."
_OBJECT_NOTE = "Write a JSON object."
GO_AHEAD = "go_ahead"


def missing_form(tool: ToolSpec, missing: Sequence[str]) -> dict[str, Any]:
    """A form with one field per missing parameter; lists and objects become text fields, as forms are flat."""
    properties = tool.input_schema.get("properties", {})
    return {
        "type": "object",
        "properties": {name: _field(properties.get(name, {})) for name in missing},
        "required": list(missing),
    }


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), None)
    if kind is None:
        return next((_kind(option) for option in options_of(schema) if option.get("type")), "string")
    return kind if isinstance(kind, str) else "string"


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(schema)
    note = {"array": _LIST_NOTE, "object": _OBJECT_NOTE}.get(kind, "")
    found: dict[str, Any] = {"type": "string" if kind in {"array", "object"} else kind}
    described = " ".join(part for part in (str(schema.get("description", "")), note) if part)
    if described:
        found["description"] = described
    if schema.get("title"):
        found["title"] = str(schema["title"])
    if kind in {"array", "object"}:
        return found
    found |= {key: schema[key] for key in _KEPT if key in schema}
    if schema.get("format") in _FORMATS:
        found["format"] = schema["format"]
    options = schema.get("enum")
    if kind == "string" and isinstance(options, list) and options and all(isinstance(one, str) for one in options):
        found["enum"] = options
    return found


def read_answers(tool: ToolSpec, answers: Mapping[str, JSON]) -> dict[str, JSON]:
    """A filled form as argument values: a list written with commas becomes a list.

    Other text is left as it is: whether it fits its parameter is checked, and asked again, where it is used.
    """
    properties = tool.input_schema.get("properties", {})
    return {name: _listed(value, properties.get(name, {})) for name, value in answers.items()}


def _listed(value: JSON, schema: Mapping[str, Any]) -> JSON:
    if _kind(schema) != "array" or not isinstance(value, str) or value.lstrip().startswith("["):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    items = schema.get("items")
    if isinstance(items, Mapping) and _kind(items) in ("integer", "number"):
        # A list of numbers in commas is a JSON list without its brackets.
        return f"[{','.join(parts)}]"
    return parts


def missing_message(tool: ToolSpec, question: str | None, missing: Sequence[str]) -> str:
    """The sentence above the form."""
    return question or f"{tool.server}/{tool.name} needs a value for {', '.join(f'`{name}`' for name in missing)}."


def confirm_form() -> dict[str, Any]:
    """A form with a single yes or no."""
    go_ahead = {"type": "boolean", "title": "Run it", "description": "Yes to run this call, no to leave it."}
    return {"type": "object", "properties": {GO_AHEAD: go_ahead}, "required": [GO_AHEAD]}


def confirm_message(call: ToolCall, reason: str) -> str:
    """What is about to happen, whole, so that the person can judge it."""
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False, indent=1)
    return f"{reason} Run {call.server}/{call.tool} with {arguments}?".strip()
