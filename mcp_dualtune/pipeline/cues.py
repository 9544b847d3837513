"""What a request says literally of a slot: a word of its name beside a value, or one of its options.

An encoder of this size often overlooks what stands there letter by letter. `assignment` weighs its scores and these
cues together.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from mcp_dualtune.prompting.reading import Page, Span
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON

BEFORE, AFTER = 3, 1
"""Words on either side of a value that are looked at."""
WORD = re.compile(r"[^\W\d_]+")


def named(page: Page, slot: int, span: Span) -> bool:
    """Whether a word beside `span` is one of the slot's name and of no other slot's: `pl_knots` in "playlist pl_knots"
    for `playlistId`."""
    first, last = page.places[span[0]], page.places[span[1]]
    own = _telling(tuple(one.path for one in page.slots))[slot]
    if first is None or last is None or not own:
        return False
    text = page.sources[first[0]].text
    beside = [*WORD.findall(text[: first[1]])[-BEFORE:], *WORD.findall(text[last[2] :])[:AFTER]]
    return not own.isdisjoint(map(_stem, beside))


def said_option(page: Page, slot: int) -> JSON:
    """The one option of a slot that a text of the page says in the option's own words; None where there are several."""
    if "enum" not in page.slots[slot].schema:
        return None
    text = spaced(" ".join(source.text for source in page.sources if source.slot is None)).lower()
    options = [source.value for source in page.sources if source.slot == slot]
    said = [option for option in options if isinstance(option, str) and len(option) > 1 and _says(text, option)]
    return said[0] if len(said) == 1 else None


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
