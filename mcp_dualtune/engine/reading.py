"""The head that lets an encoder point at values on a page, and what its scores are.

The head has no weights of its own: both its layers are zero and speak only under an adapter that brings low-rank
matrices for them. So one encoder serves adapters that read and adapters that choose.

Shapes: a page of T tokens has S slots; hidden states have D values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mcp_dualtune.engine.base import LIKELIEST, Pointable, Pointers

POINTER = 64
"""Width of the vectors whose product says that a value begins (or ends) at a token."""
STATES = 3
FAR = -1e4
"""Score of a token where no value can stand."""


class ReadingHead(nn.Module):
    """Hidden states [..., D] -> vectors of slots and of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slot = nn.Linear(width, 2 * POINTER + 1 + STATES, bias=False)
        """What begins, what ends, how readily one of several begins, and the state."""
        self.token = nn.Linear(width, 3 * POINTER, bias=False)
        """As a first token, as a last token, and what a first token says of the last."""
        nn.init.zeros_(self.slot.weight)
        nn.init.zeros_(self.token.weight)


@dataclass(frozen=True)
class Scores:
    """Logits of one page."""

    states: torch.Tensor
    """[S, 3]: absent, given, elsewhere."""
    starts: torch.Tensor
    """[S, T]: where a value begins."""
    bias: torch.Tensor
    """[S]: a token begins one of several values with probability sigmoid(start + bias)."""
    ending: torch.Tensor
    """[S, POINTER]: what the last token of a slot's value is like."""
    origins: torch.Tensor
    """[T, POINTER]: what the last token of a value that begins here is like."""
    keys: torch.Tensor
    """[T, POINTER]: what a token is like as the last one."""
    finishes: torch.Tensor
    """[S, T]: whether a value may end there."""

    def ends(self, slot: int, starts: torch.Tensor) -> torch.Tensor:
        """[K, T]: where the value of `slot` ends that begins at each of `starts` [K]."""
        scores = (self.ending[slot] + self.origins[starts]) @ self.keys.T / POINTER**0.5
        later = torch.arange(len(self.keys), device=starts.device) >= starts[:, None]
        return scores.masked_fill(~(self.finishes[slot] & later), FAR)

    def pointers(self) -> Pointers:
        """The same as probabilities."""
        begun = torch.sigmoid(self.starts + self.bias[:, None])
        found = []
        for slot, row in enumerate(self.starts):
            likely = torch.cat(
                [row.topk(min(LIKELIEST, len(row))).indices, (begun[slot] > 0.5).nonzero()[:, 0]]
            ).unique()
            found.append(dict(zip(likely.tolist(), self.ends(slot, likely).log_softmax(-1).tolist(), strict=True)))
        return Pointers(self.states.softmax(-1).tolist(), self.starts.log_softmax(-1).tolist(), found, begun.tolist())


def attach_head(model: Any) -> None:
    """Give an encoder its reading head."""
    model.reading = ReadingHead(model.config.hidden_size).to(model.device, model.dtype)


def point(model: Any, pages: Sequence[Pointable], shape: tuple[int, int] | None = None) -> list[Scores]:
    """Scores of every page, in float32, from one forward pass; `model` may be wrapped for training.

    `shape` is that of the pass (pages, tokens), where it should be larger than the pages need.
    """
    rows, longest = shape or (len(pages), max(len(page.tokens) for page in pages))
    device = model.device
    ids = torch.zeros(rows, longest, dtype=torch.long)
    mask = torch.zeros(rows, longest, dtype=torch.long)
    mask[:, 0] = 1  # a row of nothing still has a first token to look at
    for row, page in enumerate(pages):
        ids[row, : len(page.tokens)] = torch.tensor(page.tokens)
        mask[row, : len(page.tokens)] = 1
    hidden = model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
    tokens = model.reading.token(hidden).float()
    found = []
    for row, page in enumerate(pages):
        slots = model.reading.slot(hidden[row, list(page.marks)]).float()
        begin, ending, bias, states = slots.split((POINTER, POINTER, 1, STATES), -1)
        firsts, keys, origins = tokens[row, : len(page.tokens)].split(POINTER, -1)
        begins, finishes = (
            torch.tensor([ask(slot) for slot in range(len(page.marks))], device=device)
            for ask in (page.begins, page.finishes)
        )
        starts = (begin @ firsts.T / POINTER**0.5).masked_fill(~begins, FAR)
        # A value is given the more likely, the better its likeliest begin: as a place for "nothing" would compete.
        states = torch.stack([states[:, 0], states[:, 1] + starts.amax(-1), states[:, 2]], -1)
        found.append(Scores(states, starts, bias[:, 0], ending, origins, keys, finishes))
    return found
