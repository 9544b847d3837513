"""Reading values off the page: what an encoder is shown of a tool and a request, and what its scores mean.

    [CLS] tool: description [SEP]
    [MASK] parameter (type, required): description | option | option        for each slot
    [SEP] request [SEP] fact: value [SEP] ... earlier call: its result [SEP] ...

A slot is a place for plain values: a parameter, the items of a list, or a property of (a list of) objects. Its [MASK]
stands for it. The encoder says of every slot whether its value is absent, on the page or given in other words, and on
the page where values begin and end. Values stand in the request, the context, a result, or among the slot's options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mcp_dualtune.prompting import codes, globs
from mcp_dualtune.prompting.listings import with_folders
from mcp_dualtune.prompting.numerals import NUMBER, number_of
from mcp_dualtune.prompting.schema_text import literal_text, one_line
from mcp_dualtune.prompting.slots import Slot
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON, Request, ToolSpec

Tokens = tuple[int, ...]
Span = tuple[int, int]
"""First and last token of a value."""
Place = tuple[int, int, int]
"""Source, first character, end."""

ABSENT, GIVEN, ELSEWHERE = range(3)
"""States of a slot: no value, a value on the page, a value in other words (or of a kind that cannot be read)."""
TOOL_TOKENS, SLOT_TOKENS, OPTION_TOKENS = 32, 48, 8
SLOTS_TOKENS = 256
"""Slots are shown on one page up to this length; a tool with more gets several pages."""
FACT_TOKENS, CALL_TOKENS, HISTORY_ITEMS = 24, 24, 2
PAGE_TOKENS, PASSAGE_TOKENS = 512, 254
INSIDE = re.compile(r"[\w.\-/\\~%+*:@&^?!=#]")
"""Characters that hold a word together from within: a value does not begin after one, nor end before one,"""
BEFORE = re.compile(r"(?:^|[\s(\[\"'`])[@#]$|[=#]$")
"""unless it is a mark before a name (`@ana`, `--head=5`), or"""
AFTER = re.compile(r"[.:!?]+(?:[\s)\]\"'`,;]|$)")
"""a mark that ends a sentence."""
STOPPED = re.compile(r"\S*\w[.!]")
"""One word with the mark behind it that ends a sentence: the mark is no part of a value of one word."""
QUOTED = re.compile(r"(?<![\w'\"`])(?P<mark>['\"`])(?P<inner>\S(?:(?!(?P=mark)(?!\w)).)*)(?P=mark)(?!\w)")
"""Text between two like quotation marks; an apostrophe inside a word is none."""
LONGEST_PATTERN = 40
"""Characters that may stand for a pattern or a code."""
FORMATS = {
    "date": re.compile(r"\d{4}-\d\d-\d\d$"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d?:\d\d"),
    "email": re.compile(r"\S+@\S+$"),
    "uri": re.compile(r"[a-zA-Z][\w+.-]*:\S+$"),
    "uuid": re.compile(r"[0-9a-fA-F-]{32,36}$"),
    "identifier": re.compile(r"[^\W\d][\w.$-]*$"),
}
"""What texts of a schema's `format` look like, as far as that keeps other words out; `identifier` is our own: the name
of a table or column."""


@dataclass(frozen=True)
class Source:
    """A text that values are read from."""

    text: str
    value: JSON = None
    """What an option stands for."""
    slot: int | None = None
    """The slot that this is an option of."""
    said: str = ""
    """The words of the request that this is a fact about, where it is."""


@dataclass(frozen=True)
class Page:
    """What the encoder is shown, and where the slots and values are on it."""

    tokens: Tokens
    slots: tuple[Slot, ...]
    marks: tuple[int, ...]
    """The token that stands for each slot."""
    places: tuple[Place | None, ...]
    """By token; None where no value can stand."""
    sources: tuple[Source, ...]

    def begins(self, slot: int) -> list[bool]:
        """By token: whether a value of `slot` may begin there."""
        return [place is not None and place[1] in self._borders(slot, place[0])[0] for place in self.places]

    def finishes(self, slot: int) -> list[bool]:
        """By token: whether a value of `slot` may end there."""
        return [place is not None and place[2] in self._borders(slot, place[0])[1] for place in self.places]

    def _borders(self, slot: int, source: int) -> tuple[frozenset[int], frozenset[int]]:
        """Characters of a source where a value of `slot` may begin, and where it may end."""
        kind, shown = self.slots[slot].schema.get("type"), self.sources[source]
        chosen = kind == "boolean" or "enum" in self.slots[slot].schema
        if shown.slot is None and not chosen:
            return borders(shown.text, numbers=kind in ("integer", "number"))
        return (frozenset({0}), frozenset({len(shown.text)})) if shown.slot == slot else (frozenset(), frozenset())

    def value(self, slot: int, span: Span) -> JSON:
        """What stands at `span`; None where it is no value of the slot's type."""
        first, last = self.places[span[0]], self.places[span[1]]
        if first is None or last is None or first[0] != last[0] or span[1] < span[0]:
            return None
        source, (starts, ends) = self.sources[first[0]], self._borders(slot, first[0])
        if first[1] not in starts or last[2] not in ends:
            return None
        if any((first[1] == start) != (last[2] == end) for start, end in quoted(source.text)):
            return None
        text = source.text[first[1] : last[2]]
        if source.slot == slot:
            return source.value
        return None if STOPPED.fullmatch(text) else typed(text, self.slots[slot].schema, source.text[: first[1]])

    def options(self, slot: int) -> list[Span]:
        """Where the options of `slot` stand, in their order."""
        numbers = [number for number, source in enumerate(self.sources) if source.slot == slot]
        found = [self._cover(number, 0, len(self.sources[number].text)) for number in numbers]
        return [span for span in found if span is not None]

    def between(self, one: Span, other: Span, pattern: re.Pattern[str]) -> bool:
        """Whether `other` follows `one` in a text and what stands between them fits the pattern as a whole."""
        first, last = self.places[one[1]], self.places[other[0]]
        if first is None or last is None or first[0] != last[0]:
            return False
        return last[1] >= first[2] and pattern.fullmatch(self.sources[first[0]].text[first[2] : last[1]]) is not None

    def covers(self, span: Span, place: Place) -> bool:
        """Whether what stands at `span` takes words of `place` with it, or is a fact about some of them."""
        first, last = self.places[span[0]], self.places[span[1]]
        if first is None or last is None:
            return False
        source, start, end = first[0], first[1], last[2]
        if said := self.sources[source].said:
            source, start = place[0], self.sources[place[0]].text.find(said)
            end = start + len(said)
        return source == place[0] and start < place[2] and place[1] < end

    def find(self, slot: int, value: JSON) -> list[Span]:
        """Every place where `value` stands; its option alone where there is one."""
        for number, source in enumerate(self.sources):
            if source.slot == slot and source.value == value and type(source.value) is type(value):
                return [span] if (span := self._cover(number, 0, len(source.text))) else []
        found = []
        for number, source in enumerate(self.sources):
            for place in self._possible(slot, number, value) if source.slot is None else ():
                span = self._cover(number, *place)
                if span is not None and self.value(slot, span) == value:
                    found.append(span)
        return found

    def _possible(self, slot: int, source: int, value: JSON) -> Iterator[tuple[int, int]]:
        """Where `value` may stand in a source, as characters; patterns and codes may stand there in other words."""
        if self.slots[slot].schema.get("format") not in globs.FORMATS.keys() | codes.FORMATS:
            return _places(value, self.sources[source].text)
        starts, ends = self._borders(slot, source)
        return ((start, end) for start in starts for end in ends if start < end <= start + LONGEST_PATTERN)

    def _cover(self, source: int, start: int, end: int) -> Span | None:
        """The tokens from character `start` to `end` of a source, where both are token borders."""
        first = next((t for t, p in enumerate(self.places) if p and p[0] == source and p[1] == start), None)
        last = next((t for t, p in enumerate(self.places) if p and p[0] == source and p[2] == end), None)
        return None if first is None or last is None else (first, last)


class ReadingTemplate:
    """Writes pages for one encoder's tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.start, self.end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        self.mark = int(tokenizer.mask_token_id)
        self._parts: dict[str, tuple[Tokens, tuple[Span, ...]]] = {}

    def pages(
        self,
        request: Request,
        tool: ToolSpec,
        slots: Sequence[Slot],
        facts: Mapping[str, str],
        limit: int = PAGE_TOKENS,
        room: int = SLOTS_TOKENS,
    ) -> list[Page]:
        """The pages for `slots` of `tool`, at most `limit` tokens each, `room` of them for slots; empty where the
        request does not fit."""
        made: list[Page] = []
        waiting = list(slots)
        while waiting:
            draft = _Draft(self)
            draft.text(f"{spaced(tool.name)}: {one_line(tool.description)}", TOOL_TOKENS)
            draft.special(self.end)
            begun = len(draft.tokens)
            while waiting and draft.slot(waiting[0], begun + room):
                waiting.pop(0)
            draft.special(self.end)
            if not draft.source(Source(request.text), limit - len(draft.tokens) - 1):
                return []
            draft.special(self.end)
            for fact, value in facts.items():
                if len(draft.tokens) + 2 * FACT_TOKENS < limit:
                    draft.text(f"{spaced(fact)}: ", FACT_TOKENS)
                    draft.source(Source(value, said=fact), FACT_TOKENS)
                    draft.special(self.end)
            for item in reversed(request.history[-HISTORY_ITEMS:]):
                if len(draft.tokens) + 2 * CALL_TOKENS < limit:
                    draft.text(f"{spaced(item.call.tool)}: ", CALL_TOKENS)
                    draft.source(Source(with_folders(item)[:2000]), limit - len(draft.tokens) - 1)
                    draft.special(self.end)
            made.append(draft.page())
        return made

    def passage(self, text: str, limit: int = PASSAGE_TOKENS) -> Tokens:
        """A text by itself, between the special tokens of begin and end."""
        return (self.start, *self.encode(text)[0][:limit], self.end)

    def encode(self, text: str) -> tuple[Tokens, tuple[Span, ...]]:
        """Tokens of plain text and the characters each covers."""
        found = self._parts.get(text)
        if found is None:
            encoded = self._tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True,
                return_token_type_ids=False, return_attention_mask=False, verbose=False,
            )  # fmt: skip
            found = tuple(encoded["input_ids"]), tuple(encoded["offset_mapping"])
            if len(self._parts) >= 20_000:  # bounds memory in a long training run
                self._parts.clear()
            self._parts[text] = found
        return found


class _Draft:
    """A page while it is written."""

    def __init__(self, template: ReadingTemplate) -> None:
        self._template = template
        self.tokens: list[int] = []
        self._places: list[Place | None] = []
        self._sources: list[Source] = []
        self._slots: list[Slot] = []
        self._marks: list[int] = []
        self.special(template.start)

    def page(self) -> Page:
        return Page(
            tuple(self.tokens), tuple(self._slots), tuple(self._marks), tuple(self._places), tuple(self._sources)
        )

    def special(self, token: int) -> None:
        self.tokens.append(token)
        self._places.append(None)

    def text(self, text: str, limit: int) -> None:
        tokens = self._template.encode(text)[0][:limit]
        self.tokens += tokens
        self._places += [None] * len(tokens)

    def source(self, source: Source, limit: int) -> bool:
        """Whether all of it was written."""
        tokens, spans = self._template.encode(source.text)
        limit = max(limit, 0)
        self.tokens += tokens[:limit]
        self._places += [(len(self._sources), start, end) for start, end in spans[:limit]]
        self._sources.append(source)
        return len(tokens) <= limit

    def slot(self, slot: Slot, limit: int) -> bool:
        """Write one slot, unless it would end beyond `limit`; the first one is always written."""
        kind = "list of " if slot.many else ""
        kind += str(slot.schema.get("type") or "string") + (", required" if slot.required else "")
        about = slot.schema.get("description")
        options = [(literal_text(option), option) for option in _options(slot.schema)]
        longest = 1 + SLOT_TOKENS + len(options) * (1 + OPTION_TOKENS)
        if self._slots and len(self.tokens) + longest > limit:
            return False
        self._marks.append(len(self.tokens))
        self.special(self._template.mark)
        self.text(f"{slot.name} ({kind}): {one_line(about if isinstance(about, str) else '')}", SLOT_TOKENS)
        for text, option in options:
            self.text("|", 1)
            self.source(Source(text, option, len(self._slots)), OPTION_TOKENS)
        self._slots.append(slot)
        return True


def typed(text: str, schema: Mapping[str, JSON], before: str = "") -> JSON:
    """`text`, which stands behind `before`, as a value of the schema's type; None where it is none."""
    kind = schema.get("type")
    if kind == "string":
        named = str(schema.get("format"))
        if named in globs.FORMATS:
            return globs.glob_of(text, before, named)
        if named in codes.FORMATS:
            return codes.code_of(text, named)
        form = FORMATS.get(named)
        return text.strip() or None if form is None or form.match(text.strip()) else None
    number = number_of(text)
    return None if kind == "integer" and not isinstance(number, int) else number


def _options(schema: Mapping[str, JSON]) -> Iterator[JSON]:
    if isinstance(schema.get("enum"), list):
        yield from schema["enum"]
    elif schema.get("type") == "boolean":
        yield from (True, False)


def _places(value: JSON, text: str) -> Iterator[tuple[int, int]]:
    """Where `value` may stand in `text`, as characters."""
    if isinstance(value, str):
        yield from (place.span() for place in re.finditer(re.escape(value), text) if value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (place.span() for place in NUMBER.finditer(text) if number_of(place[0]) == value)


@lru_cache(maxsize=4096)
def borders(text: str, *, numbers: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Where values may begin in `text`, and where they may end: at its words (paths and addresses are one), or at its
    numbers."""
    if numbers:
        found = [place.span() for place in NUMBER.finditer(text)]
        return frozenset(start for start, _ in found), frozenset(end for _, end in found)
    starts = {at for at in range(len(text)) if not INSIDE.match(text[at - 1 : at]) or BEFORE.search(text[:at][-2:])}
    ends = {at for at in range(1, len(text) + 1) if not INSIDE.match(text[at:]) or AFTER.match(text[at:])}
    for start, end in quoted(text):
        starts -= set(range(start + 1, end + 1))
        ends -= set(range(start, end))
    return frozenset(starts), frozenset(ends)


@lru_cache(maxsize=4096)
def quoted(text: str) -> tuple[Span, ...]:
    """What stands between quotation marks, as characters: it is one value or part of a longer one, and never cut."""
    return tuple(place.span("inner") for place in QUOTED.finditer(text))
