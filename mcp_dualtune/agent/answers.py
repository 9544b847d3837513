"""Puts a user's answers into a decision that had to ask.

Owns reading typed-in text as the parameter's type, and the check that the call is complete now. It does not ask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import RequestError
from mcp_dualtune.types import JSON, Decision, Provenance, ToolSpec


def merge_answers(decision: Decision, tool: ToolSpec, answers: Mapping[str, JSON]) -> Decision:
    """`decision` with the answered values; still an `ask` for the values that were not given or do not fit.

    Raises:
        RequestError: the values fit one by one but not together.
    """
    properties = tool.input_schema.get("properties") or {}
    given: dict[str, JSON] = {}
    problems: dict[str, str] = {}
    for name in decision.missing:
        if answers.get(name) is None or answers[name] == "":
            continue
        value = _typed(answers[name], {"properties": {name: properties.get(name, {})}}, name)
        wrong = validate_arguments({"type": "object", "properties": {name: properties.get(name, {})}}, {name: value})
        if wrong:
            problems[name] = wrong[0]
        else:
            given[name] = value
    arguments = {**decision.arguments, **given}
    provenance = {**decision.provenance, **{name: Provenance("request") for name in given}}
    missing = tuple(name for name in decision.missing if name not in given)
    changed = replace(decision, arguments=arguments, provenance=provenance, missing=missing)
    if missing:
        words = "; ".join(problems.get(name, f"`{name}` is still missing") for name in missing)
        return replace(changed, question=f"{words}. Which value should I use?")
    left = validate_arguments(tool.input_schema, arguments)
    if left:
        raise RequestError(
            f"These arguments do not fit {tool.server}/{tool.name}: {left[0]}",
            hint="Say the request again with all values in it.",
        )
    return replace(changed, outcome="call", question=None)


def _typed(value: JSON, schema: Mapping[str, JSON], name: str) -> JSON:
    """`value`, or what its text means as JSON where only that fits the parameter (a number typed into a text field)."""
    checked = {"type": "object", **schema}
    if not isinstance(value, str) or not validate_arguments(checked, {name: value}):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if validate_arguments(checked, {name: parsed}) else parsed
