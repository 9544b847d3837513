"""The options of a ranking as one tree, so that a single forward pass scores all of them.

Owns the tree, its attention mask and the sum of its scores. Refuses to own: running the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mcp_dualtune.engine.base import Tokens

ROOT = 0
"""Row of the last prompt token: it predicts the first token of every option."""


class OptionTree:
    """Tokens that options share are one node. An option's last token is predicted, never fed, so it is no node."""

    def __init__(self, options: Sequence[Tokens]) -> None:
        self.tokens: list[int] = []
        """Per node: the token to feed."""
        self.depths: list[int] = []
        """Per node: how many option tokens come before it."""
        self._parents: list[int] = []
        self._steps: list[tuple[list[int], list[int]]] = []
        known: dict[tuple[int, int], int] = {}
        for option in options:
            row, rows = ROOT, []
            for depth, token in enumerate(option):
                rows.append(row)
                if depth + 1 == len(option):
                    break
                key = (row, token)
                if key not in known:
                    self._parents.append(row)
                    self.tokens.append(token)
                    self.depths.append(depth)
                    known[key] = len(self.tokens)
                row = known[key]
            self._steps.append((rows, list(option)))

    def __len__(self) -> int:
        return len(self.tokens)

    def mask(self, past: int, fed: int, dtype: Any, device: Any) -> Any:
        """Additive mask [1, 1, fed + nodes, past + fed + nodes] for prompt tokens followed by the nodes.

        Prompt tokens see what came before them; a node sees the whole prompt, its ancestors and itself.
        """
        nodes = len(self)
        prompt = past + fed
        visible = torch.zeros(fed + nodes, prompt + nodes, dtype=torch.bool)
        visible[:fed, :prompt] = torch.ones(fed, prompt, dtype=torch.bool).tril(past)
        visible[fed:, :prompt] = True
        own = visible[fed:, prompt:]
        for node, parent in enumerate(self._parents):
            if parent != ROOT:
                own[node] = own[parent - 1]
            own[node, node] = True
        mask = torch.zeros(visible.shape, dtype=dtype)
        return mask.masked_fill(~visible, torch.finfo(dtype).min)[None, None].to(device)

    def scores(self, logits: Any) -> list[float]:
        """Log-probability of each option, end included; logits [1 + nodes, vocabulary], the prompt's last row first."""
        log_probabilities = torch.log_softmax(logits.float(), dim=-1)
        rows = [row for rows, _ in self._steps for row in rows]
        targets = [token for _, tokens in self._steps for token in tokens]
        picked: list[float] = log_probabilities[rows, targets].double().tolist()
        scores, start = [], 0
        for _, tokens in self._steps:
            scores.append(sum(picked[start : start + len(tokens)]))
            start += len(tokens)
        return scores


def split(options: Sequence[Tokens], limit: int) -> list[list[Tokens]]:
    """Options in order, in groups of at most `limit` tokens (one longer option stands alone)."""
    groups: list[list[Tokens]] = []
    room = 0
    for option in options:
        if len(option) > room or not groups:
            groups.append([])
            room = limit
        groups[-1].append(option)
        room -= len(option)
    return groups
