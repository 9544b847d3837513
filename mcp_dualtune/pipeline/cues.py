"""What a request says literally: a word of a slot's name beside a value, one of its options, and names and numbers that
are hardly said for nothing.

An encoder of this size often overlooks what stands there letter by letter. `assignment` weighs its scores and these
cues together.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import islice

from mcp_dualtune.prompting import codes
from mcp_dualtune.prompting.reading import Page, Place, Span, quoted
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON

BEFORE, AFTER = 3, 1
"""Words on either side of a value that are looked at."""
WORD = re.compile(r"[^\W\d_]+")
TOKEN = re.compile(r"[^\s\"'`()\[\]{}<>,;]*[^\s\"'`()\[\]{}<>,;.:!?]")
PECULIAR = re.compile(r"[\d@_/\\#:.\-]|[A-Z]{2}")
"""What plain words do not contain: ids, numbers, addresses, paths and abbreviations do."""


def named(page: Page, slot: int, span: Span) -> bool:
    """Whether a word beside `span` is one of the slot's name and of no other slot's: `pl_knots` in "playlist pl_knots"
    for `playlistId`."""
    first, last = page.places[span[0]], page.places[span[1]]
    own = _telling(tuple(one.path for one in page.slots))[slot]
    if first is None or last is None or not own:
        return False
    text = page.sources[first[0]].text
    return not own.isdisjoint(_stem(text[start:end]) for start, end in words_beside(text, first[1], last[2]))


@lru_cache(maxsize=1024)  # a place is looked at for every slot, and twice: for names and for likeness
def words_beside(text: str, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """The words of `text` beside what stands from character `start` to `end`, as characters."""
    before = [word.span() for word in WORD.finditer(text, 0, start)]
    after = (word.span() for word in WORD.finditer(text, end))
    return (*before[-BEFORE:], *islice(after, AFTER))


def said_option(page: Page, slot: int) -> JSON:
    """The one option of a slot that a text of the page says in the option's own words; None where there are several.

    A default needs no saying: its word mostly stands there for something else. Of codes, what they are called is said.
    """
    schema = page.slots[slot].schema
    if (form := str(schema.get("format"))) in codes.FORMATS:
        return codes.said_code(" ".join(source.text for source in page.sources if source.slot is None), form)
    if "enum" not in schema:
        return None
    text = spaced(" ".join(source.text for source in page.sources if source.slot is None)).lower()
    options = [source.value for source in page.sources if source.slot == slot]
    said = [
        option
        for option in options
        if isinstance(option, str)
        and len(option) > 1
        and any(_says(text, name) for name in (option, *codes.called(page.slots[slot].name, option)))
    ]
    return said[0] if len(said) == 1 and said[0] != schema.get("default") else None


def literals(page: Page) -> tuple[Place, ...]:
    """What the request says letter by letter: quoted passages, and words that are no plain words."""
    number = next((number for number, source in enumerate(page.sources) if source.slot is None), None)
    if number is None:
        return ()
    text = page.sources[number].text
    passages = quoted(text)
    words = (match.span() for match in TOKEN.finditer(text) if PECULIAR.search(match[0]))
    alone = [(start, end) for start, end in words if not any(a < end and start < b for a, b in passages)]
    return tuple((number, start, end) for start, end in sorted((*passages, *alone)))


def _says(text: str, option: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(spaced(option).lower())}s?(?!\w)", text) is not None


@lru_cache(maxsize=256)
def _telling(paths: tuple[tuple[str, ...], ...]) -> tuple[frozenset[str], ...]:
    """For each slot, the words of its name that are in no other's."""
    words = [{_stem(word) for part in path for word in WORD.findall(spaced(part))} for path in paths]
    count = Counter(word for one in words for word in one)
    return tuple(frozenset(word for word in one if count[word] == 1) for one in words)


def _stem(word: str) -> str:
    """Without the `s` of a plural."""
    word = word.lower()
    return word.removesuffix("s") if len(word) > 3 else word
