"""Values that stand on the page: read by an encoder, before a language model writes the rest.

Owns the way from a tool and a request to arguments: values of slots become objects and lists. What is said in other
words stays open for the model that writes. (Leaving unsure readings to it was measured and made more calls wrong.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.schema import leaf_paths
from mcp_dualtune.engine.base import PointingEngine, PointRequest
from mcp_dualtune.pipeline.assignment import Found, found_values
from mcp_dualtune.pipeline.likeness import likeness
from mcp_dualtune.pipeline.said_json import said_json
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, PAGE_TOKENS, SLOTS_TOKENS, ReadingTemplate
from mcp_dualtune.prompting.slots import Slot, one_or_more, tool_slots
from mcp_dualtune.types import JSON, AdapterRef, Request, ToolSpec


@dataclass
class Readings:
    """What was read of a tool's parameters; names that appear nowhere are open."""

    adapter: AdapterRef | None = None
    arguments: dict[str, JSON] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    chances: dict[str, float] = field(default_factory=dict)
    """By parameter: the probability that what was read of it is right."""

    @property
    def probability(self) -> float:
        """That all of it is right."""
        return math.prod(self.chances.values())


@dataclass(frozen=True)
class Reader:
    """An encoder that points, with its pages and its adapters."""

    engine: PointingEngine
    template: ReadingTemplate
    adapters: AdapterStore

    def read(
        self,
        request: Request,
        tool: ToolSpec,
        names: Sequence[str],
        facts: Mapping[str, str],
        cancel: Event,
        adapter: AdapterRef | None = None,
    ) -> Readings:
        """Read the parameters `names` of `tool`, under the adapter that is for it; without any nothing is read.

        Under an `adapter` that was trained for just this tool all slots stand on one page, and what is alike without an
        adapter counts for nothing.

        Raises:
            AdapterError, Cancelled: as `PointingEngine.point`.
        """
        trained = adapter is not None
        adapter = adapter or self.adapters.best("arguments", tool.server, tool.name, tool.schema_fingerprint)
        if adapter is None:
            return Readings()
        said, text = said_json(request.text, tool, names)
        readings = Readings(adapter, said)
        slots = tool_slots(tool, [name for name in names if name not in said])
        if not slots:
            return readings
        room = PAGE_TOKENS if trained else SLOTS_TOKENS
        pages = self.template.pages(replace(request, text=text), tool, slots, facts, room=room)
        scores = self.engine.point(PointRequest(pages, adapter), cancel)
        leaves = (leaf for item in request.history for _, leaf in leaf_paths(item.call.arguments))
        used = {str(leaf) for leaf in leaves if isinstance(leaf, str | int | float) and not isinstance(leaf, bool)}
        found: dict[str, list[tuple[Slot, Found]]] = {}
        for page, pointers in zip(pages, scores, strict=True):
            alike = None if trained else likeness(self.engine, self.template, page, cancel)
            for slot, one in zip(page.slots, found_values(page, pointers, alike, used), strict=True):
                found.setdefault(slot.path[0], []).append((slot, one))
        for name, parts in found.items():
            self._take(readings, name, parts, adapter.temperature)
            value = readings.arguments.get(name)
            if isinstance(value, list) and len(value) == 1 and one_or_more(tool.input_schema["properties"][name]):
                readings.arguments[name] = value[0]
        return readings

    def _take(self, readings: Readings, name: str, parts: Sequence[tuple[Slot, Found]], temperature: float) -> None:
        if any(found.state == ELSEWHERE for _, found in parts):
            return
        if all(found.state == ABSENT for _, found in parts):
            readings.absent.append(name)
        else:
            try:
                readings.arguments[name] = assemble([(slot.path[1:], found.values) for slot, found in parts])
            except ValueError:
                return
        readings.chances[name] = math.prod(found.probability for _, found in parts) ** (1.0 / temperature)


Part = tuple[tuple[str, ...], tuple[JSON, ...]]
"""The rest of a slot's path, and its values."""


def assemble(parts: Sequence[Part]) -> JSON:
    """One value from the values of its slots.

    Raises:
        ValueError: the values do not say which belongs to which item.
    """
    heads = {path[0] if path else "" for path, _ in parts}
    if heads == {""}:
        ((_, values),) = parts
        return values[0]
    if heads != {"[]"}:
        groups: dict[str, list[Part]] = {}
        for path, values in parts:
            groups.setdefault(path[0], []).append((path[1:], values))
        return {name: assemble(group) for name, group in groups.items() if any(values for _, values in group)}
    inner = [(path[1:], values) for path, values in parts]
    count = max((len(values) for path, values in inner if "[]" not in path), default=1)
    items = ([(path, _share(path, values, item, count)) for path, values in inner] for item in range(count))
    return [assemble([(path, values) for path, values in item if values]) for item in items]


def _share(path: tuple[str, ...], values: tuple[JSON, ...], item: int, count: int) -> tuple[JSON, ...]:
    """The values of one slot that belong to item number `item` of `count`."""
    if "[]" in path and count == 1:
        return values
    if values and len(values) != count:
        raise ValueError(f"{len(values)} values for {count} items")
    return values[item : item + 1]
