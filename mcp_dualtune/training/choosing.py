"""What choosing adapters learn on the public encoder: request and options are pulled together or apart.

The loss is the cross-entropy of the right option among the options of its own list. Serving adds the closeness of means
and of tokens (`engine.encoder`). Each learns by itself: under the loss of the sum one leans on the other, which was
measured to be worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from mcp_dualtune.engine.encoder import SCALE, batches, best_passages, closeness, embed, split_passages
from mcp_dualtune.training.examples import Example

BATCH_TOKENS = 3072

Group = Sequence[Example]


@dataclass(frozen=True)
class Choosing:
    """Choices among the options of groups."""

    model: Any
    start: int
    """The token that opens a passage."""

    def scores(self, groups: Sequence[Group]) -> list[tuple[torch.Tensor, int]]:
        """For every example: the scores of its options, [2, options], and the place of the right one."""
        passages: dict[tuple[int, ...], None] = {}
        for group in groups:
            for example in group:
                passages[example.tokens] = None
                for option in example.options:
                    passages.update(dict.fromkeys(split_passages(option, self.start)))
        embedded: dict[tuple[int, ...], torch.Tensor] = {}
        for batch in batches(list(passages), BATCH_TOKENS):
            embedded.update(zip(batch, embed(self.model, batch), strict=True))
        return [scored for group in groups if group for scored in self._group(group, embedded)]

    def _group(
        self, group: Group, embedded: Mapping[tuple[int, ...], torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, int]]:
        options = list(dict.fromkeys(option for example in group for option in example.options))
        cut = [split_passages(option, self.start) for option in options]
        asked = [embedded[example.tokens] for example in group]
        offered = [embedded[passage] for passages in cut for passage in passages]
        found = best_passages(closeness(asked, offered), [len(passages) for passages in cut])
        column = {option: index for index, option in enumerate(options)}
        for row, example in enumerate(group):
            yield SCALE * found[:, row, [column[o] for o in example.options]], example.options.index(example.answer)

    def loss(self, items: Sequence[Group]) -> torch.Tensor:
        """Mean cross-entropy of the right options."""
        scored = self.scores(items)
        losses = [functional.cross_entropy(scores, torch.tensor([right, right])) for scores, right in scored]
        return torch.stack(losses).mean()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def measure(self, items: Sequence[Group], size: int) -> dict[str, float]:
        """Loss, and the share of right choices."""
        parts = [one for start in range(0, len(items), size) for one in self.scores(items[start : start + size])]
        scored = [(scores.sum(0), right) for scores, right in parts]
        losses = [float(functional.cross_entropy(scores[None], torch.tensor([right]))) for scores, right in scored]
        hits = [int(scores.argmax()) == right for scores, right in scored]
        return {"loss": sum(losses) / len(losses), "answer": sum(hits) / len(hits)}
