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

from mcp_dualtune.engine.base import Pointable, Pointers

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
        self.token = nn.Linear(width, 2 * POINTER, bias=False)
        nn.init.zeros_(self.slot.weight)
        nn.init.zeros_(self.token.weight)


@dataclass(frozen=True)
class Scores:
    """Logits of one page."""

    states: torch.Tensor
    """[S, 3]: absent, given, elsewhere."""
    starts: torch.Tensor
    """[S, T]: where a value begins."""
    ends: torch.Tensor
    """[S, T]: where a value ends."""
    bias: torch.Tensor
    """[S]: a token begins one of several values with probability sigmoid(start + bias)."""

    def pointers(self) -> Pointers:
        """The same as probabilities."""
        return Pointers(
            self.states.softmax(-1).tolist(),
            self.starts.log_softmax(-1).tolist(),
            self.ends.log_softmax(-1).tolist(),
            torch.sigmoid(self.starts + self.bias[:, None]).tolist(),
        )


def attach_head(model: Any) -> None:
    """Give an encoder its reading head."""
    model.reading = ReadingHead(model.config.hidden_size).to(model.device, model.dtype)


def point(model: Any, pages: Sequence[Pointable]) -> list[Scores]:
    """Scores of every page, in float32, from one forward pass; `model` may be wrapped for training."""
    longest = max(len(page.tokens) for page in pages)
    device = model.device
    ids = torch.tensor([[*page.tokens, *[0] * (longest - len(page.tokens))] for page in pages], device=device)
    lengths = torch.tensor([len(page.tokens) for page in pages], device=device)
    mask = torch.arange(longest, device=device)[None] < lengths[:, None]
    hidden = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    tokens = model.reading.token(hidden).float()
    found = []
    for row, page in enumerate(pages):
        slots = model.reading.slot(hidden[row, list(page.marks)]).float()
        begin, end, bias, states = slots.split((POINTER, POINTER, 1, STATES), -1)
        keys = tokens[row, : len(page.tokens)].split(POINTER, -1)
        allowed = [[ask(slot) for slot in range(len(page.marks))] for ask in (page.begins, page.finishes)]
        starts, ends = (
            (query @ key.T / POINTER**0.5).masked_fill(~torch.tensor(may, device=device), FAR)
            for query, key, may in zip((begin, end), keys, allowed, strict=True)
        )
        found.append(Scores(states, starts, ends, bias[:, 0]))
    return found
