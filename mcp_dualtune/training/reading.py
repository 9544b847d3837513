"""What the reading adapter learns: of every slot, whether and where its values stand on the page.

The same cases as for writing arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from mcp_dualtune.engine.reading import FAR, Scores, point
from mcp_dualtune.pipeline.assignment import Found, found_values
from mcp_dualtune.pipeline.facts import facts_for
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, SLOTS_TOKENS, Page, ReadingTemplate, Span
from mcp_dualtune.prompting.slots import tool_slots, values_of
from mcp_dualtune.training.lora import TEMPERATURES
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import JSON, Request, ToolSpec

BATCH_TOKENS, STEP, ROWS = 2048, 16, 2
"""Tokens of a forward pass, and what its length and its number of pages are multiples of."""
LEARNT_TOKENS = 320
"""Longest page that is learnt from: earlier results are cut to fit."""
COUNT_WEIGHT = 4.0
"""Weight of saying where each of several values begins, against saying where a value may begin."""


@dataclass(frozen=True)
class Target:
    """What is right for one slot."""

    state: int
    values: tuple[JSON, ...] = ()
    spans: tuple[tuple[Span, ...], ...] = ()
    """For each value, everywhere it stands."""


@dataclass(frozen=True)
class Reading:
    """One page and what is right for each of its slots."""

    page: Page
    targets: tuple[Target, ...]


def readings(template: ReadingTemplate, case: Case, tool: ToolSpec, room: int = SLOTS_TOKENS) -> list[Reading]:
    """What one case teaches, `room` tokens of slots a page; nothing where the request is too long for a page."""
    facts = facts_for(case.query, tool.input_schema, case.context)
    names = [name for name in tool.input_schema.get("properties") or {} if name not in case.fixed]
    slots = tool_slots(tool, names)
    pages = template.pages(Request(case.query, case.history), tool, slots, facts, LEARNT_TOKENS, room)
    arguments = case.arguments or {}
    return [
        Reading(page, tuple(_target(page, at, values_of(slot, arguments)) for at, slot in enumerate(page.slots)))
        for page in pages
    ]


def _target(page: Page, slot: int, values: Sequence[JSON]) -> Target:
    if not values:
        return Target(ABSENT)
    spans = tuple(tuple(page.find(slot, value)) for value in values)
    return Target(GIVEN, tuple(values), spans) if all(spans) else Target(ELSEWHERE, tuple(values))


@dataclass(frozen=True)
class Pointing:
    """Pointing at values."""

    model: Any

    def loss(self, items: Sequence[Sequence[Reading]]) -> torch.Tensor:
        """Mean over slots: cross-entropy of the state, and of begin and end of what is given."""
        losses = [
            slot_loss(reading.page, scores, slot, target)
            for scores, reading in self._scored(items)
            for slot, target in enumerate(reading.targets)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def measure(self, items: Sequence[Sequence[Reading]], size: int) -> dict[str, float]:
        """Loss, and the share of slots read right (`answer`), of those that are given (`given`), and of whole pages."""
        losses, right, given, whole = [], [], [], []
        for start in range(0, len(items), size):
            for scores, reading in self._scored(items[start : start + size]):
                found = found_values(reading.page, scores.pointers())
                hits = list(map(_right, found, reading.targets))
                losses += [float(slot_loss(reading.page, scores, n, t)) for n, t in enumerate(reading.targets)]
                given += [hit for hit, target in zip(hits, reading.targets, strict=True) if target.state == GIVEN]
                right += hits
                whole.append(all(hits))
        kinds: dict[str, Sequence[float]] = {"loss": losses, "answer": right, "given": given, "page": whole}
        return {name: sum(rows) / max(len(rows), 1) for name, rows in kinds.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def fit_temperature(self, items: Sequence[Sequence[Reading]]) -> float:
        """The temperature under which the product of a page's probabilities says best whether all of it is right."""
        pages: list[tuple[float, bool]] = []
        for scores, reading in self._scored(items):
            found = found_values(reading.page, scores.pointers())
            chance = math.prod(one.probability for one in found)
            pages.append((chance, all(map(_right, found, reading.targets))))

        def loss(temperature: float) -> float:
            chances = [min(max(chance ** (1 / temperature), 1e-4), 1 - 1e-4) for chance, _ in pages]
            return -sum(math.log(p if right else 1 - p) for p, (_, right) in zip(chances, pages, strict=True))

        return min(TEMPERATURES, key=loss)

    def _scored(self, items: Sequence[Sequence[Reading]]) -> Iterator[tuple[Scores, Reading]]:
        flat = sorted((reading for item in items for reading in item), key=lambda reading: -len(reading.page.tokens))
        while flat:
            # Few shapes: the CPU's matrix kernels are made anew for every shape they have not met.
            longest = -(-len(flat[0].page.tokens) // STEP) * STEP
            rows = max(1, BATCH_TOKENS // longest)
            batch, flat = flat[:rows], flat[rows:]
            rows = min(rows, -(-len(batch) // ROWS) * ROWS)
            yield from zip(point(self.model, [one.page for one in batch], (rows, longest)), batch, strict=True)


def _right(found: Found, target: Target) -> bool:
    return found.state == target.state and (target.state != GIVEN or found.values == target.values)


def slot_loss(page: Page, scores: Scores, slot: int, target: Target) -> torch.Tensor:
    """Loss of one slot: its state, and for given values the likelihood of any place where each stands."""
    state = functional.cross_entropy(scores.states[slot][None], torch.tensor([target.state]))
    if target.state != GIVEN:
        return state
    starts = scores.starts[slot]
    start, parts = torch.log_softmax(starts, -1), []
    for spans in target.spans:
        first, last = torch.tensor(spans, device=starts.device).T
        end = torch.log_softmax(scores.ends(slot, first), -1)
        parts.append(torch.logsumexp(start[first] + end.gather(1, last[:, None])[:, 0], 0))
    loss = state - torch.stack(parts).mean()
    if not page.slots[slot].many:
        return loss
    begun = torch.zeros_like(starts)
    begun[[s for spans in target.spans for s, _ in spans]] = 1.0
    allowed = starts > FAR / 2
    logits = (starts + scores.bias[slot])[allowed]
    return loss + COUNT_WEIGHT * functional.binary_cross_entropy_with_logits(logits, begun[allowed])
