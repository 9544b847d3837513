"""How like the words of a request are to a slot's name and to its options, whatever words those are.

An encoder that has learnt from a billion pairs of like texts knows that "earnings" are near a `metric` of `revenue`
long before an adapter of ours has learnt to point. It is asked as it came, without an adapter; names and options are
computed once. `assignment` weighs this and what the adapter points at together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from mcp_dualtune.engine.base import PointingEngine
from mcp_dualtune.pipeline.cues import words_beside
from mcp_dualtune.prompting.reading import Page, ReadingTemplate, Span
from mcp_dualtune.prompting.templates.pairs import spaced

BESIDE = 4.0
"""Natural log of how much likelier a value is beside a word that is like its slot's name, for a cosine of one more than
to the other slots'."""


@dataclass(frozen=True)
class Likeness:
    """What a request's words are like, for one page."""

    source: int
    """The request's number among the page's sources."""
    words: tuple[Span, ...]
    """By token of the request: its characters."""
    names: Sequence[Sequence[float]]
    """[slots, tokens]: cosine to the slot's name, above the mean over all slots."""
    options: Mapping[int, float]
    """By source that is an option: natural log of its weight, up to a sum that the options of its slot share."""

    def beside(self, page: Page, slot: int, span: Span) -> float:
        """Natural log of how much likelier `span` is for `slot` because of the words beside it."""
        first, last = page.places[span[0]], page.places[span[1]]
        if first is None or last is None or first[0] != self.source:
            return 0.0
        near = words_beside(page.sources[self.source].text, first[1], last[2])
        tokens = [n for n, (start, end) in enumerate(self.words) if any(a < end and start < b for a, b in near)]
        return BESIDE * max((self.names[slot][token] for token in tokens), default=0.0)


def likeness(engine: PointingEngine, template: ReadingTemplate, page: Page, cancel: Event) -> Likeness | None:
    """Compare the request on a page to its slots; None where there is nothing to tell apart.

    Raises:
        PromptTooLong, Cancelled: as `PointingEngine.compare`.
    """
    requests = [number for number, source in enumerate(page.sources) if source.slot is None]
    options = [number for number, source in enumerate(page.sources) if isinstance(source.value, str)]
    if not requests or (len(page.slots) < 2 and not options):
        return None
    text = page.sources[requests[0]].text
    slots = [page.slots[page.sources[number].slot or 0].name for number in options]
    said = [f"{slot} {spaced(page.sources[number].text)}" for slot, number in zip(slots, options, strict=True)]
    passages = [template.passage(text) for text in (*(slot.name for slot in page.slots), *said)]
    request = template.passage(text)
    compared = engine.compare(request, passages, cancel)
    names = [one.tokens for one in compared[: len(page.slots)]]
    means = [sum(column) / len(names) for column in zip(*names, strict=True)]
    return Likeness(
        source=requests[0],
        words=template.encode(text)[1][: len(request) - 2],
        names=[[cosine - mean for cosine, mean in zip(row, means, strict=True)] for row in names],
        options=dict(zip(options, (one.closeness for one in compared[len(page.slots) :]), strict=True)),
    )
