"""JSON that stands in a request: nobody types `[{"op": "trim"}]` but for the parameter that takes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mcp_dualtune.catalog.schema import value_faults
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON, ToolSpec

COMPOUND = {"object", "array"}


def said_json(text: str, tool: ToolSpec, names: Sequence[str]) -> tuple[dict[str, JSON], str]:
    """The parameters of `names` whose value the request says as JSON, and the request with their names in its place.

    A piece of JSON belongs to the one parameter whose schema it fits, among those that take objects or lists; where it
    fits several or none, it is left.
    """
    properties = tool.input_schema.get("properties") or {}
    said: dict[str, JSON] = {}
    words, end = [], 0
    for start, after, value in _pieces(text):
        free = [name for name in names if name not in said and _compound(properties.get(name))]
        fitting = [name for name in free if not value_faults(tool.input_schema, name, value)]
        if len(fitting) == 1:
            said[fitting[0]] = value
            words += [text[end:start], spaced(fitting[0])]
            end = after
    return said, "".join([*words, text[end:]])


def _pieces(text: str) -> Iterator[tuple[int, int, JSON]]:
    """Objects and lists in a text, each with where it begins and ends."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at] in "{[":
            try:
                value, after = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                pass
            else:
                if value:
                    yield at, after, value
                at = after
                continue
        at += 1


def _compound(schema: JSON) -> bool:
    """Whether a schema asks for an object or a list; one that takes anything does not."""
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type")
    own = set([kinds] if isinstance(kinds, str) else kinds or ())
    return bool(COMPOUND & own) or any(map(_compound, options_of(schema)))
