"""Ways to decide the same cases, side by side: what is in use, and what it is worth more than.

Owns the other pipelines (the same models with fewer adapters) and the choice by words alone. Judging is `score`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic, perf_counter

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.catalog.shortlist import rank_tools
from mcp_dualtune.config import Settings
from mcp_dualtune.evaluation.cases import Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.score import Score, score
from mcp_dualtune.models import shelves_of
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.exemplars import Exemplars
from mcp_dualtune.pipeline.stages import Seat


@dataclass(frozen=True)
class Way:
    """One way to decide, and how it did."""

    key: str
    """`in_use`, `shipped`, `base`, `words`, `one_prompt`."""
    name: str
    about: str
    cases: tuple[Case, ...] = ()
    """Those that it decided: the first ones of all."""
    predictions: tuple[Prediction, ...] = ()
    note: str = ""
    """Why there are no cases, or fewer than wanted."""
    fills: bool = True
    """Whether it fills in arguments; otherwise it can make no full call."""

    @property
    def score(self) -> Score | None:
        """How it did; None where it decided nothing."""
        return score(self.cases, self.predictions) if self.cases else None

    def first(self, count: int) -> Score | None:
        """How it did on the first `count` cases, to be compared with a way that decided only those."""
        found = replace(self, cases=self.cases[:count], predictions=self.predictions[:count])
        return found.score


def tried(
    way: Way,
    cases: Sequence[Case],
    run: Callable[[Sequence[Case]], Iterable[Prediction]],
    until: float,
    seen: Callable[[], None] = lambda: None,
    least: int = 1,
) -> Way:
    """Let `way` decide `cases` by `run`, one after the other, as long as the time is before `until` (monotonic).

    The first `least` are decided in any case: fewer would say nothing.
    """
    found: list[Prediction] = []
    for prediction in run(cases):
        found.append(prediction)
        seen()
        if monotonic() > until and least <= len(found) < len(cases):
            note = f"Only {len(found)} of {len(cases)} requests: the time was up."
            return replace(way, cases=tuple(cases[: len(found)]), predictions=tuple(found), note=note)
    return replace(way, cases=tuple(cases), predictions=tuple(found))


def by_words(cases: Iterable[Case], catalog: Catalog) -> Iterator[Prediction]:
    """The tool that shares most with the request by BM25, without arguments; `none` where nothing is shared."""
    for case in cases:
        started = perf_counter()
        found = rank_tools(case.query, catalog.restrict(case.servers).servers, 1)
        ms = (perf_counter() - started) * 1000
        if found:
            yield Prediction(case.id, "call", found[0][0].server, found[0][0].name, ms=ms)
        else:
            yield Prediction(case.id, "none", ms=ms)


def without_adapters(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """The same models with no adapter at all: nothing is read off the request, and the causal model writes it all."""
    return _with_stores(pipeline, settings, lambda digest: AdapterStore((), digest))


def as_shipped(pipeline: Pipeline, settings: Settings) -> Pipeline | None:
    """The same models without the user's own adapters and requests; None where none of those is in use.

    Raises:
        AdapterError: an adapter folder does not exist.
    """
    model = replace(settings.model, adapters=(), user_adapters=None)
    shipped = {shelf.base: shelf.store() for shelf in shelves_of(model)}
    made = _with_stores(pipeline, settings, lambda digest: shipped[digest])
    told = any(seat.exemplars for seat in (pipeline.choosing, pipeline.routing))
    return None if _known(made) == _known(pipeline) and not told else made


def _with_stores(pipeline: Pipeline, settings: Settings, store: Callable[[str], AdapterStore]) -> Pipeline:
    def seat(old: Seat) -> Seat:
        return replace(old, adapters=store(old.engine.digest), exemplars=Exemplars())

    reader = pipeline.reader and replace(pipeline.reader, adapters=store(pipeline.reader.adapters.base_digest))
    return Pipeline(
        seat(pipeline.filling), seat(pipeline.choosing), settings.thresholds, reader, seat(pipeline.routing)
    )


def _known(pipeline: Pipeline) -> set[str]:
    seats = (pipeline.filling, pipeline.choosing, pipeline.routing)
    return {stored.ref.digest for seat in seats for stored in seat.adapters.adapters}
