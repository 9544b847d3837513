"""Which words of a page belong to which slot: an encoder's pointing becomes values of all slots together.

Two slots never read the same words, values of one kind are mostly said in the order of the parameters ("from A to B"),
and hardly a name or number is said for nothing: what one slot reads depends on all the others, so the readings are
searched jointly. Blocking code without state.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mcp_dualtune.engine.base import LIKELIEST, Pointers
from mcp_dualtune.pipeline.cues import literals, named, said_option
from mcp_dualtune.pipeline.likeness import Likeness
from mcp_dualtune.prompting import codes, globs
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, Page, Place, Span
from mcp_dualtune.prompting.slots import Slot
from mcp_dualtune.types import JSON, canonical

OVERLOOKED = 0.25
"""Natural log of how much likelier a slot has a value than the encoder says: of tools it has not been trained on it
overlooks more values than it makes up (docs/LOG.md)."""
FAINT, INSIDE = 0.03, 0.05
"""Probability that a slot is given from which on values are looked for, and weight of reading words inside what another
slot has read."""
IN_ORDER, NAMED = 0.4, 1.5
"""Natural logs of how much likelier two values of one kind are in the order of their parameters than in none, and a
value is beside a word that names its slot."""
SAID_OPTION, SAID = 2.0, 1.0
"""Natural logs of how much likelier an option is that the request says literally, and that its slot has a value."""
TAKEN = 1.5
"""Natural log of how much likelier a reading is with each literal of the request that it gives to a slot."""
SCATTERED, CUT = 3.0, 2.0
"""Natural logs of how much less likely the items of a list are apart from each other than in one enumeration, and how
much less likely a list is that leaves an enumeration at one of its ends."""
CANDIDATES, SETS, BEAM = 5, 8, 24
"""Readings of one slot, of one list, and of all slots together, that are followed up."""
BEGUN, PERHAPS = 0.5, 0.1
"""Probability from which on one of several values begins at a token, and from which on it may."""
ENUMERATED = re.compile(r"[\"'`]?\s*(?:,|;|&|\+|/|\||and|or|,\s*and|,\s*or|plus)\s*[\"'`]?", re.IGNORECASE)
"""What stands between two items of an enumeration."""


@dataclass(frozen=True)
class Found:
    """What was read for one slot."""

    state: int
    probability: float
    values: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """What a slot may have: one value, or the items of a list."""

    values: tuple[JSON, ...]
    spans: tuple[Span, ...]
    probability: float
    listed: bool = False


@dataclass(frozen=True)
class _Item:
    """One value that a list may contain."""

    value: JSON
    span: Span
    begun: float
    ended: float


@dataclass(frozen=True)
class _Reading:
    """One way to read some slots, and the natural log of its weight."""

    weight: float = 0.0
    chosen: tuple[tuple[int, Candidate | None], ...] = ()
    taken: frozenset[Place] = frozenset()
    """The literals of the request that some slot has."""


def found_values(
    page: Page, pointers: Pointers, likeness: Likeness | None = None, used: Collection[str] = ()
) -> list[Found]:
    """The likeliest reading of all slots of a page, in their order; what an earlier call `used` has had its use."""
    said = [said_option(page, slot) for slot in range(len(page.slots))]
    chances = [_states(slot, row, option) for slot, row, option in zip(page.slots, pointers.states, said, strict=True)]
    states = [max(range(len(row)), key=row.__getitem__) for row in chances]
    wanted = [slot for slot, row in enumerate(chances) if states[slot] != ELSEWHERE and row[GIVEN] > FAINT]
    lists = _lists(page, pointers, wanted)
    candidates = {
        slot: _sets(page, pointers, slot) if slot in lists else _candidates(page, pointers, slot, likeness, said[slot])
        for slot in wanted
    }
    readings = _read_jointly(page, candidates, chances, used)
    best = dict(readings[0].chosen)
    found = []
    for slot, row in enumerate(chances):
        if slot in best:
            candidate, share = best[slot], _share(readings, slot, best[slot])
            # Where all words it could be belong to surer slots, nothing is said of it; if it is required, one asks.
            found.append(Found(ABSENT, share) if candidate is None else Found(GIVEN, share, candidate.values))
        elif states[slot] == GIVEN:
            found.append(Found(ELSEWHERE, 1.0 - row[ABSENT]))  # no value of its type stands on the page
        else:
            found.append(Found(states[slot], row[states[slot]]))
    return found


def _states(slot: Slot, chances: Sequence[float], said: JSON) -> list[float]:
    """Probabilities of a slot's states, with the option `said` literally, if any."""
    weights = list(chances)
    weights[GIVEN] *= math.exp(OVERLOOKED)
    if slot.schema.get("format") in globs.FORMATS or (said is not None and slot.schema.get("format") in codes.FORMATS):
        weights[GIVEN], weights[ELSEWHERE] = weights[GIVEN] + weights[ELSEWHERE], 0.0  # other words can be one
    if said is not None:
        weights[GIVEN] *= math.exp(SAID)
    return [weight / sum(weights) for weight in weights]


def _lists(page: Page, pointers: Pointers, wanted: Sequence[int]) -> set[int]:
    """Slots that are read as several values: lists, and properties of a list's objects where there are several."""
    objects: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found = set()
    for slot in wanted:
        path = page.slots[slot].path
        if path[-1] == "[]":
            found.add(slot)
        elif "[]" in path:
            objects[path[: path.index("[]")]].append(slot)
    for slots in objects.values():
        if any(sum(chance > BEGUN for chance in pointers.begun[slot]) > 1 for slot in slots):
            found.update(slots)
    return found


def _read_jointly(
    page: Page,
    candidates: Mapping[int, Sequence[Candidate]],
    chances: Sequence[Sequence[float]],
    used: Collection[str],
) -> list[_Reading]:
    """The likeliest ways to give the slots their values or none, best first; slots without candidates are left out."""
    told, beam = [place for place in literals(page) if _text(page, place) not in used], [_Reading()]
    for slot, options in candidates.items():
        if options:
            given, absent = (math.log(max(chances[slot][state], FAINT)) for state in (GIVEN, ABSENT))
            longer = [
                replace(reading, weight=reading.weight + absent, chosen=(*reading.chosen, (slot, None)))
                for reading in beam
            ]
            for option in options:
                taken = frozenset(place for place in told if any(page.covers(span, place) for span in option.spans))
                for reading in beam:
                    weight = _weight(page, slot, option, reading)
                    if weight is not None:
                        weight += reading.weight + given + TAKEN * len(taken - reading.taken)
                        chosen = (*reading.chosen, (slot, option))
                        longer.append(_Reading(weight, chosen, reading.taken | taken))
            beam = heapq.nlargest(BEAM, longer, key=lambda reading: reading.weight)
    return beam


def _weight(page: Page, slot: int, option: Candidate, reading: _Reading) -> float | None:
    """Natural log of what choosing `option` for `slot` is worth beside a reading; None where it cannot be."""
    weight = math.log(max(option.probability, 1e-6))
    for other, chosen in reading.chosen:
        if chosen is None:
            continue
        met = [(own, its) for own in option.spans for its in chosen.spans if _meet(own, its)]
        if any(own == its for own, its in met):
            return None
        weight += len(met) * math.log(INSIDE)
        single = not (option.listed or chosen.listed)
        if single and not met and _kind(page.slots[slot]) == _kind(page.slots[other]) != "options":
            weight += IN_ORDER if chosen.spans < option.spans else -IN_ORDER
    return weight


def _text(page: Page, place: Place) -> str:
    return page.sources[place[0]].text[place[1] : place[2]]


def _meet(one: Span, other: Span) -> bool:
    """Whether some words belong to both."""
    return one[0] <= other[1] and other[0] <= one[1]


def _kind(slot: Slot) -> str:
    """What a slot's values look like in a text."""
    kind = slot.schema.get("type")
    if "enum" in slot.schema or kind == "boolean":
        return "options"
    return "number" if kind in ("integer", "number") else "text"


def _share(readings: Sequence[_Reading], slot: int, candidate: Candidate | None) -> float:
    """Share of the weight of all readings that give `slot` this candidate."""
    weights = [(math.exp(one.weight - readings[0].weight), dict(one.chosen)[slot]) for one in readings]
    return sum(weight for weight, chosen in weights if chosen == candidate) / sum(weight for weight, _ in weights)


def _candidates(page: Page, pointers: Pointers, slot: int, likeness: Likeness | None, said: JSON) -> list[Candidate]:
    """The likeliest values, best first; equal values count together. One option may be `said` literally."""
    if _kind(page.slots[slot]) == "options":
        return _chosen(page, pointers, slot, likeness, said)
    starts, merged = pointers.starts[slot], dict[str, Candidate]()
    pairs = [(starts[s] + ends[e], (s, e)) for s, ends in pointers.ends[slot].items() for e in _best(ends)]
    for score, span in sorted(pairs, reverse=True):
        value = page.value(slot, span)
        if value is not None:
            key = canonical(value)
            known = merged.get(key, Candidate((value,), (span,), 0.0))
            told = NAMED * named(page, slot, span) + (likeness.beside(page, slot, span) if likeness else 0.0)
            told += SAID_OPTION * (value == said)
            merged[key] = replace(known, probability=known.probability + math.exp(score + told))
    return _scaled(list(merged.values()))[:CANDIDATES]


def _chosen(page: Page, pointers: Pointers, slot: int, likeness: Likeness | None, said: JSON) -> list[Candidate]:
    """The likeliest options, best first; one may be `said` literally."""
    found = []
    for span in page.options(slot):
        value, place = page.value(slot, span), page.places[span[0]]
        if value is not None and place is not None:
            weight = pointers.starts[slot][span[0]] + SAID_OPTION * (value == said)
            weight += likeness.options.get(place[0], 0.0) if likeness else 0.0
            found.append(Candidate((value,), (span,), weight))
    top = max((one.probability for one in found), default=0.0)
    return _scaled([replace(one, probability=math.exp(one.probability - top)) for one in found])[:CANDIDATES]


def _sets(page: Page, pointers: Pointers, slot: int) -> list[Candidate]:
    """The likeliest contents of a list, best first: single items, enumerations, parts of them, and all sure items."""
    items = list(_items(page, pointers, slot))
    follower = {
        one: other
        for one, first in enumerate(items)
        for other, second in enumerate(items)
        if page.between(first.span, second.span, ENUMERATED)
    }
    sets = {tuple(number for number, item in enumerate(items) if item.begun > BEGUN)}
    for number in range(len(items)):
        run = [number]
        sets.add((number,))
        while run[-1] in follower:
            run.append(follower[run[-1]])
            sets.add(tuple(run))
    found = []
    for chosen in sets - {()}:
        spans = [items[number].span for number in chosen]
        if any(_meet(one, other) for one, other in pairwise(spans)):
            continue
        weight = sum(math.log(items[number].begun * items[number].ended) for number in chosen)
        others = (item for item in items if not any(_meet(item.span, span) for span in spans))
        weight += sum(math.log(1.0 - item.begun) for item in others)
        if any(follower.get(one) != other for one, other in pairwise(chosen)):
            weight -= SCATTERED
        weight -= CUT * ((chosen[-1] in follower) + (chosen[0] in follower.values()))
        weight += NAMED * named(page, slot, spans[0])
        values = {canonical(items[number].value): items[number].value for number in chosen}
        found.append(Candidate(tuple(values.values()), tuple(spans), math.exp(weight), listed=True))
    return _scaled(found)[:SETS]


def _items(page: Page, pointers: Pointers, slot: int) -> Iterator[_Item]:
    """What a list may contain, in the order of the page."""
    for first, ends in sorted(pointers.ends[slot].items()):
        begun = min(pointers.begun[slot][first], 0.999)
        spans = ((first, last) for last in _best(ends) if first <= last) if begun > PERHAPS else ()
        read = ((span, page.value(slot, span)) for span in spans)
        span, value = next(((span, value) for span, value in read if value is not None), (None, None))
        if span is not None:
            yield _Item(value, span, begun, max(math.exp(ends[span[1]]), 1e-3))


def _scaled(candidates: Sequence[Candidate]) -> list[Candidate]:
    """With probabilities that sum to one, best first."""
    total = sum(one.probability for one in candidates) or 1.0
    scaled = [replace(one, probability=one.probability / total) for one in candidates]
    return sorted(scaled, key=lambda one: -one.probability)


def _best(scores: Sequence[float]) -> list[int]:
    return heapq.nlargest(LIKELIEST, range(len(scores)), key=scores.__getitem__)
