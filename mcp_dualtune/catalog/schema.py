"""Input schemas and the arguments that must fit them.

Owns checking arguments and naming their leaves; cleaning itself lives in `cleaning`. Refuses to own: filling in
defaults (servers do that) and asking for what is missing.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping

from jsonschema.exceptions import ValidationError

from mcp_dualtune.catalog.cleaning import clean_schema
from mcp_dualtune.catalog.patterns import bounded_errors, unknown_keys
from mcp_dualtune.types import JSON

__all__ = ["clean_schema", "leaf_paths", "path_text", "validate_arguments", "value_faults"]

MAX_PROBLEMS = 20
SHOWN_CHARACTERS = 60
_KINDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def validate_arguments(schema: Mapping[str, JSON], arguments: Mapping[str, JSON]) -> tuple[str, ...]:
    """Say in plain words, one message a problem, how `arguments` do not fit a cleaned schema; empty when they do."""
    errors = sorted(bounded_errors(schema, arguments), key=lambda error: [str(p) for p in error.path])
    messages = dict.fromkeys(message for error in errors for message in _explain(error))
    return tuple(messages)[:MAX_PROBLEMS]


def value_faults(schema: Mapping[str, JSON], name: str, value: JSON) -> tuple[str, ...]:
    """What is wrong with one value, looked at alone, as `validate_arguments`."""
    properties = schema.get("properties") or {}
    return validate_arguments({"type": "object", "properties": {name: properties.get(name, {})}}, {name: value})


def leaf_paths(value: JSON) -> tuple[tuple[str, JSON], ...]:
    """Every leaf of JSON arguments with its path (`edits[0].newText`), in order; an empty list or object is a leaf."""
    return tuple(_leaves(value, ()))


def path_text(steps: Iterable[str | int]) -> str:
    """Write the way to a value: names joined by dots, places and unusual names in brackets."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w$@-]+", step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _leaves(value: JSON, steps: tuple[str | int, ...]) -> Iterable[tuple[str, JSON]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, (*steps, name))
    elif isinstance(value, list) and value:
        for place, part in enumerate(value):
            yield from _leaves(part, (*steps, place))
    elif steps:
        yield path_text(steps), value


def _explain(error: ValidationError) -> list[str]:
    steps = tuple(error.absolute_path)
    name = f"`{path_text(steps)}`" if steps else "the arguments"
    wanted: JSON = error.validator_value
    found: JSON = error.instance
    around: JSON = error.schema
    rule = str(error.validator)
    if rule == "required":
        return [f"`{path_text((*steps, key))}` is missing" for key in wanted if key not in found]
    if rule == "additionalProperties" and isinstance(found, Mapping):
        known = list(around.get("properties", ()))
        return [_unknown((*steps, key), key, known) for key in unknown_keys(found, around)]
    if rule in ("anyOf", "oneOf") and error.context:
        branches = {" and ".join(_explain(inner)) for inner in error.context}
        return [f"{name} fits none of the allowed forms: " + ", or ".join(sorted(branches)[:4])]
    reasons: Mapping[str, Callable[[], str]] = {
        "type": lambda: f"should be {_kind_words(wanted)}",
        "enum": lambda: f"should be one of {', '.join(_shown(value) for value in wanted[:12])}",
        "const": lambda: f"should be {_shown(wanted)}",
        "minimum": lambda: f"should be at least {wanted}",
        "maximum": lambda: f"should be at most {wanted}",
        "exclusiveMinimum": lambda: f"should be above {wanted}",
        "exclusiveMaximum": lambda: f"should be below {wanted}",
        "minLength": lambda: f"should have at least {wanted} characters",
        "maxLength": lambda: f"should have at most {wanted} characters",
        "minItems": lambda: f"should have at least {wanted} items",
        "maxItems": lambda: f"should have at most {wanted} items",
        "uniqueItems": lambda: "should not hold the same item twice",
        "pattern": lambda: f"should match the pattern {wanted}",
        "multipleOf": lambda: f"should be a multiple of {wanted}",
        "not": lambda: "is not allowed",
    }
    if rule in reasons:
        return [f"{name} {reasons[rule]()}, but is {_shown(found)}"]
    return [f"{name} breaks the rule {rule}: {error.message[:200]}"]


def _unknown(steps: tuple[str | int, ...], key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"`{path_text(steps)}` is not a parameter" + (f"; did you mean `{close[0]}`?" if close else "")


def _kind_words(wanted: JSON) -> str:
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    return " or ".join(_KINDS.get(kind, str(kind)) for kind in kinds)


def _shown(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
