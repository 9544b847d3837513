"""A tool with pages for it, and pointers that say what a test wants said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mcp_dualtune.engine.base import Pointers
from mcp_dualtune.prompting.reading import Page, ReadingTemplate
from mcp_dualtune.prompting.slots import slots_of
from mcp_dualtune.types import JSON, Request, ToolSpec
from tests.tiny_models import tiny_pieces

TEXT = {"type": "string"}
SCHEMA = {
    "properties": {
        "source": TEXT,
        "target": TEXT,
        "names": {"type": "array", "items": TEXT},
        "links": {"type": "array", "items": {"type": "object", "properties": {"a": TEXT, "b": TEXT}}},
        "count": {"type": "integer"},
    },
    "required": ["source"],
}
TOOL = ToolSpec("s", "move", "", SCHEMA, "f" * 64)
FAR = -30.0


def slot_number(page: Page, *path: str) -> int:
    return [slot.path for slot in page.slots].index(path)


def said(page: Page, values: Mapping[tuple[str, ...], Sequence[tuple[JSON, float]]]) -> Pointers:
    """Pointers that hold these values of slots for likely (value, probability), and all other slots for absent."""
    width, rows = len(page.tokens), range(len(page.slots))
    states = [[1.0, 0.0, 0.0] for _ in rows]
    starts, begun = ([[low] * width for _ in rows] for low in (FAR, 0.0))
    ends: list[dict[int, list[float]]] = [{} for _ in rows]
    for path, likely in values.items():
        slot = slot_number(page, *path)
        states[slot] = [0.0, 1.0, 0.0]
        for value, probability in likely:
            first, last = page.find(slot, value)[0]
            starts[slot][first] = math.log(probability)
            ends[slot][first] = [0.0 if token == last else FAR for token in range(width)]
            begun[slot][first] = probability
    return Pointers(states, starts, ends, begun)


def page_of(text: str) -> Page:
    slots = [slot for name in SCHEMA["properties"] for slot in slots_of(SCHEMA, name)]  # type: ignore[attr-defined]
    return ReadingTemplate(tiny_pieces()).pages(Request(text), TOOL, slots, {})[0]
