"""Values that stand on the page: read by an encoder, before a language model writes the rest.

Owns what the encoder's pointing comes to: values of slots, their objects and lists. What is said in other words stays
open for the model that writes. (Leaving unsure readings to the decoder was measured and made more calls wrong.)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import LIKELIEST, Pointers, PointingEngine, PointRequest
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, Page, ReadingTemplate, Slot, Span, slots_of
from mcp_dualtune.types import JSON, AdapterRef, Request, ToolSpec, canonical

REUSED, UNLIKELY = 0.97, 0.05
"""Words inside what another slot has read are read again when that is this likely, or any other reading this unlikely;
exactly the same words never are."""


@dataclass(frozen=True)
class Found:
    """What was read for one slot."""

    state: int
    probability: float
    values: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One value that a slot may have."""

    value: JSON
    span: Span
    probability: float

    @property
    def tokens(self) -> frozenset[int]:
        """Where it stands."""
        return frozenset(range(self.span[0], self.span[1] + 1))


@dataclass
class Readings:
    """What was read of a tool's parameters; names that appear nowhere are open."""

    adapter: AdapterRef | None = None
    arguments: dict[str, JSON] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    probability: float = 1.0
    """That all of it is right."""


@dataclass(frozen=True)
class Reader:
    """An encoder that points, with its pages and its adapters."""

    engine: PointingEngine
    template: ReadingTemplate
    adapters: AdapterStore

    def read(
        self, request: Request, tool: ToolSpec, names: Sequence[str], facts: Mapping[str, str], cancel: Event
    ) -> Readings:
        """Read the parameters `names` of `tool`; without a trained adapter nothing is read.

        Raises:
            AdapterError, Cancelled: as `PointingEngine.point`.
        """
        adapter = self.adapters.best("arguments", tool.server, tool.name, tool.schema_fingerprint)
        readings = Readings(adapter)
        slots = [slot for name in names for slot in slots_of(tool.input_schema, name)]
        if adapter is None or not slots:
            return readings
        pages = self.template.pages(request, tool, slots, facts)
        scores = self.engine.point(PointRequest(pages, adapter), cancel)
        found: dict[str, list[tuple[Slot, Found]]] = {}
        for page, pointers in zip(pages, scores, strict=True):
            for slot, one in zip(page.slots, found_values(page, pointers), strict=True):
                found.setdefault(slot.path[0], []).append((slot, one))
        for name, parts in found.items():
            self._take(readings, name, parts)
        readings.probability **= 1.0 / adapter.temperature
        return readings

    def _take(self, readings: Readings, name: str, parts: Sequence[tuple[Slot, Found]]) -> None:
        if any(found.state == ELSEWHERE for _, found in parts):
            return
        if all(found.state == ABSENT for _, found in parts):
            readings.absent.append(name)
        else:
            try:
                readings.arguments[name] = assemble([(slot.path[1:], found.values) for slot, found in parts])
            except ValueError:
                return
        readings.probability *= math.prod(found.probability for _, found in parts)


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


def found_values(page: Page, pointers: Pointers) -> list[Found]:
    """The likeliest reading of every slot, where two slots seldom read the same words: the surest reads first."""
    taken: set[int] = set()
    read: set[Span] = set()
    found: dict[int, Found] = {}
    singles = {slot: _candidates(page, pointers, slot) for slot in range(len(page.slots)) if not page.slots[slot].many}
    lists = [slot for slot in range(len(page.slots)) if page.slots[slot].many]

    def sure(slot: int) -> float:
        return pointers.states[slot][GIVEN] * max((one.probability for one in singles[slot]), default=0.0)

    for slot in (*sorted(singles, key=sure, reverse=True), *sorted(lists, key=lambda slot: -max(pointers.begun[slot]))):
        states = pointers.states[slot]
        state = max(range(len(states)), key=states.__getitem__)
        if state != GIVEN:
            found[slot] = Found(state, states[state])
            continue
        chosen = (
            _one(singles[slot], taken, read, sure(slot)) if slot in singles else list(_several(page, pointers, slot, taken))
        )
        if slot in singles and singles[slot] and not chosen:
            # All words it could be belong to surer slots: nothing is said of it, and where it is required, one asks.
            found[slot] = Found(ABSENT, 1.0 - sure(slot))
            continue
        if not chosen:
            found[slot] = Found(ELSEWHERE, 1.0 - states[ABSENT])
            continue
        probability = states[GIVEN] * math.prod(one.probability for one in chosen)
        found[slot] = Found(GIVEN, probability, tuple(one.value for one in chosen))
        taken.update(*(one.tokens for one in chosen))
        read.update(one.span for one in chosen)
    return [found[slot] for slot in range(len(page.slots))]


def _candidates(page: Page, pointers: Pointers, slot: int) -> list[Candidate]:
    """The likeliest values, best first; equal values count together."""
    starts = pointers.starts[slot]
    merged: dict[str, Candidate] = {}
    pairs = [(starts[s] + ends[e], (s, e)) for s, ends in pointers.ends[slot].items() for e in _best(ends)]
    for score, span in sorted(pairs, reverse=True):
        value = page.value(slot, span)
        if value is not None:
            key = canonical(value)
            known = merged.get(key, Candidate(value, span, 0.0))
            merged[key] = Candidate(value, known.span, known.probability + math.exp(score))
    total = sum(one.probability for one in merged.values()) or 1.0
    scaled = [Candidate(one.value, one.span, one.probability / total) for one in merged.values()]
    return sorted(scaled, key=lambda one: -one.probability)


def _one(candidates: Sequence[Candidate], taken: set[int], read: set[Span], sure: float) -> list[Candidate]:
    """The best candidate, or the best that is left; none where that is too unlikely."""
    free = [one for one in candidates if not taken & one.tokens]
    if free[:1] == candidates[:1] or (sure >= REUSED and candidates[0].span not in read):
        return list(candidates[:1])
    return [one for one in free if one.probability > UNLIKELY][:1]


def _several(page: Page, pointers: Pointers, slot: int, taken: set[int]) -> Iterator[Candidate]:
    """The values of a list, in the order of the page; doubts about any token count against all of them."""
    begun = pointers.begun[slot]
    starts = [token for token, chance in enumerate(begun) if chance > (REUSED if token in taken else 0.5)]
    likely = [token for token in _best(pointers.starts[slot]) if token in pointers.ends[slot]]
    starts = starts or [token for token in likely if token not in taken][:1] or likely[:1]
    doubt = math.prod(max(chance, 1.0 - chance) for chance in begun) ** (1.0 / len(starts))
    seen: list[JSON] = []
    for first, limit in zip(starts, [*starts[1:], len(page.tokens)], strict=True):
        ends = pointers.ends[slot][first]
        for last in _best(ends):
            value = page.value(slot, (first, last)) if first <= last < limit else None
            if value is not None:
                if value not in seen:
                    seen.append(value)
                    yield Candidate(value, (first, last), math.exp(ends[last]) * doubt)
                break


def _best(scores: Sequence[float]) -> list[int]:
    return heapq.nlargest(LIKELIEST, range(len(scores)), key=scores.__getitem__)
