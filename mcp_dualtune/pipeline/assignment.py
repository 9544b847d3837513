"""Which words of a page belong to which slot: an encoder's pointing becomes values of all slots together.

Two slots never read the same words, and values of one kind are mostly said in the order of the parameters ("from A to
B"): what one slot reads depends on all the others, so the readings are searched jointly. Blocking code without state.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcp_dualtune.engine.base import LIKELIEST, Pointers
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, Page, Slot, Span
from mcp_dualtune.types import JSON, canonical

UNLIKELY = 0.05
"""Weight of reading nothing where the encoder saw a value, and of reading words inside what another slot has read."""
IN_ORDER = 0.8
"""Natural log of how much likelier two values of one kind are in the order of their parameters than in none."""
CANDIDATES, BEAM = 5, 24
"""Readings of one slot, and of all slots together, that are followed up."""
BEGUN = 0.5
"""Probability from which on one of several values begins at a token."""


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

    def meets(self, other: Candidate) -> bool:
        """Whether some words belong to both."""
        return self.span[0] <= other.span[1] and other.span[0] <= self.span[1]


@dataclass(frozen=True)
class _Reading:
    """One way to read some slots, and the natural log of its weight."""

    weight: float = 0.0
    chosen: tuple[tuple[int, Candidate | None], ...] = ()

    @property
    def left_out(self) -> int:
        """How many slots it gives nothing."""
        return sum(candidate is None for _, candidate in self.chosen)


def found_values(page: Page, pointers: Pointers) -> list[Found]:
    """The likeliest reading of all slots of a page, in their order."""
    states = [max(range(len(row)), key=row.__getitem__) for row in pointers.states]
    found = {slot: Found(state, pointers.states[slot][state]) for slot, state in enumerate(states) if state != GIVEN}
    lists = _lists(page, pointers, states)
    singles = [slot for slot in range(len(page.slots)) if slot not in found and slot not in lists]
    readings = _read_jointly(page, {slot: _candidates(page, pointers, slot) for slot in singles})
    taken: set[int] = set()
    for slot, candidate in readings[0].chosen:
        given = pointers.states[slot][GIVEN] * _share(readings, slot, candidate)
        if candidate is None:
            # All words it could be belong to surer slots: nothing is said of it, and where it is required, one asks.
            found[slot] = Found(ABSENT, given)
        else:
            found[slot] = Found(GIVEN, given, (candidate.value,))
            taken.update(range(candidate.span[0], candidate.span[1] + 1))
    for slot in sorted(lists, key=lambda slot: -max(pointers.begun[slot])):
        several = list(_several(page, pointers, slot, taken))
        taken.update(token for one in several for token in range(one.span[0], one.span[1] + 1))
        if several:
            chance = pointers.states[slot][GIVEN] * math.prod(one.probability for one in several)
            found[slot] = Found(GIVEN, chance, tuple(one.value for one in several))
    for slot in range(len(page.slots)):
        # No value of its type stands on the page.
        found.setdefault(slot, Found(ELSEWHERE, 1.0 - pointers.states[slot][ABSENT]))
    return [found[slot] for slot in range(len(page.slots))]


def _lists(page: Page, pointers: Pointers, states: Sequence[int]) -> set[int]:
    """Slots that are read as several values: lists, and properties of a list's objects where there are several."""
    objects: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found = set()
    for number, slot in enumerate(page.slots):
        if slot.many and states[number] == GIVEN:
            if slot.path[-1] == "[]":
                found.add(number)
            else:
                objects[slot.path[: slot.path.index("[]")]].append(number)
    for slots in objects.values():
        if any(sum(chance > BEGUN for chance in pointers.begun[slot]) > 1 for slot in slots):
            found.update(slots)
    return found


def _read_jointly(page: Page, candidates: dict[int, list[Candidate]]) -> list[_Reading]:
    """The likeliest ways to give the slots their values or none, best first; slots without candidates are left out."""
    beam = [_Reading()]
    for slot, options in candidates.items():
        if options:
            longer = [
                _Reading(reading.weight + weight, (*reading.chosen, (slot, option)))
                for reading in beam
                for option in (*options[:CANDIDATES], None)
                if (weight := _weight(page, slot, option, reading)) is not None
            ]
            beam = heapq.nlargest(BEAM, longer, key=lambda reading: reading.weight)
    return beam


def _weight(page: Page, slot: int, option: Candidate | None, reading: _Reading) -> float | None:
    """Natural log of what choosing `option` for `slot` is worth beside a reading; None where it cannot be."""
    if option is None:
        return math.log(UNLIKELY)
    weight = math.log(max(option.probability, 1e-6))
    for other, chosen in reading.chosen:
        if chosen is None:
            continue
        if chosen.span == option.span:
            return None
        if chosen.meets(option):
            weight += math.log(UNLIKELY)
        elif _kind(page.slots[slot]) == _kind(page.slots[other]) != "options":
            weight += IN_ORDER if chosen.span < option.span else -IN_ORDER
    return weight


def _kind(slot: Slot) -> str:
    """What a slot's values look like in a text."""
    kind = slot.schema.get("type")
    if "enum" in slot.schema or kind == "boolean":
        return "options"
    return "number" if kind in ("integer", "number") else "text"


def _share(readings: Sequence[_Reading], slot: int, candidate: Candidate | None) -> float:
    """Share of the weight of the readings that give `slot` this candidate, of those that leave out as few slots."""
    best = readings[0]
    alike = (reading for reading in readings if reading.left_out == best.left_out)
    weights = [(math.exp(reading.weight - best.weight), dict(reading.chosen)[slot]) for reading in alike]
    return sum(weight for weight, chosen in weights if chosen == candidate) / sum(weight for weight, _ in weights)


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


def _several(page: Page, pointers: Pointers, slot: int, taken: set[int]) -> Iterator[Candidate]:
    """The values of a list, in the order of the page; doubts about any token count against all of them."""
    begun = pointers.begun[slot]
    starts = [token for token, chance in enumerate(begun) if chance > BEGUN and token not in taken]
    likely = [token for token in _best(pointers.starts[slot]) if token in pointers.ends[slot] and token not in taken]
    starts = starts or likely[:1]
    doubt = math.prod(max(chance, 1.0 - chance) for chance in begun) ** (1.0 / max(len(starts), 1))
    seen: list[JSON] = []
    for first, limit in zip(starts, [*starts[1:], len(page.tokens)][: len(starts)], strict=True):
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
