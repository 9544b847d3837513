"""The engine on a text encoder: ranks options by closeness to the request, points at values, and cannot write.

Request and options are embedded by themselves under the adapter, so the vectors of a tool list are computed once and a
decision costs one short forward pass. A passage is as close to a request as the cosine of the two means of their last
hidden states, plus the mean over the request's tokens of the cosine to the token of the passage that is most like it
(late interaction: ColBERT, arXiv 2004.12832). The score of an option is the closeness of its best passage, times SCALE.
Earlier requests for which it was right are passages of it, too; closeness to them counts less (EXEMPLAR).
The same functions train the adapters. Not thread-safe.

Shapes: N passages of T tokens, D values a vector. An embedded text is [1 + T, D]: its mean, then its tokens, of unit
length.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from threading import Event
from time import perf_counter
from typing import Any

import torch
from torch.nn import functional

from mcp_dualtune.engine.base import (
    Comparison,
    Completion,
    GenerationRequest,
    Pointers,
    PointRequest,
    Ranking,
    RankRequest,
    Tokens,
)
from mcp_dualtune.engine.load import LoadedModel
from mcp_dualtune.engine.lora import AdapterStack
from mcp_dualtune.engine.reading import attach_head, point
from mcp_dualtune.engine.threads import Threads
from mcp_dualtune.engine.vector_file import VectorFile
from mcp_dualtune.errors import Cancelled, EngineError, PromptTooLong

SCALE = 20.0
"""What a closeness of 1 is worth in log-probability, before an adapter's temperature."""
BATCH_TOKENS = 2048
"""Tokens a forward pass, padding included: what a cancelled request may still cost."""
KEPT_TEXTS = 10_000
"""Embedded texts in memory, in half precision: five thousand tools under two adapters, some 30 kB each."""
EXEMPLAR = 0.8
"""What closeness to an earlier request counts, against closeness to an option's own passages: two requests are closer
to each other than a request is to a description (docs/LOG.md)."""
LOOKED_AT = 256
"""Passages whose tokens are looked at: those with the closest means. The others are as far as the farthest of them."""


class EncoderEngine:
    """A transformers encoder of the BERT family as an `Engine` that can rank, and a `PointingEngine`."""

    def __init__(self, loaded: LoadedModel, file: VectorFile | None = None) -> None:
        """`file` is where embedded options are kept between runs."""
        self.digest = loaded.digest
        self.tokenizer = loaded.tokenizer
        self.context_length = loaded.context_length * KEPT_TEXTS
        """No limit on a whole prompt: every text is read by itself, and the template keeps each short."""
        self._model = loaded.model
        self._longest = loaded.context_length
        self._start = int(loaded.tokenizer.cls_token_id)
        self._threads = Threads(loaded.model, loaded.threads)
        attach_head(loaded.model)
        self.adapters = AdapterStack(loaded.model)
        self.vectors: OrderedDict[tuple[str, Tokens], torch.Tensor] = OrderedDict()
        """(adapter identity, passage) -> [1 + T, D], least recently used first."""
        self._file = file
        if file:
            self.vectors.update((key, kept.to(loaded.model.device)) for key, kept in file.kept.items())

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        """Score all options; each may hold several passages, every one opened by the start token.

        Raises:
            PromptTooLong: the request or a passage is longer than the model can read.
            AdapterError: the adapter cannot be loaded on this base.
            Cancelled: `cancel` was set.
        """
        started = perf_counter()
        identity = self.adapters.use(request.adapter)
        own = [split_passages(option, self._start) for option in request.options]
        told = [split_passages(earlier, self._start) for earlier in request.exemplars] or [[]] * len(own)
        flat: list[Tokens] = []
        weights: list[float] = []
        sizes: list[int] = []
        for passages, earlier in zip(own, told, strict=True):
            flat += [*passages, *earlier]
            weights += [*[1.0] * len(passages), *[EXEMPLAR] * len(earlier)]
            sizes.append(len(passages) + len(earlier))
        new = {passage for passage in flat if (identity, passage) not in self.vectors}
        cached = sum(len(passage) for passage in flat if passage not in new)
        with torch.inference_mode():
            asked, *offered = self._embed([request.prompt, *flat], identity, cancel)
            if new and self._file:
                fresh = {(identity, p): found for p, found in zip(flat, offered, strict=True) if p in new}
                self._file.add(fresh, perf_counter() - started)
            found = best_passages((_closest(asked, offered) * torch.tensor(weights))[None], sizes)[0]
            scores = torch.log_softmax(SCALE * found, -1)
        return Ranking(tuple(scores.tolist()), cached, (perf_counter() - started) * 1000)

    def point(self, request: PointRequest, cancel: Event | None = None) -> list[Pointers]:
        """Say of every slot of the pages whether and where its values stand.

        Raises:
            PromptTooLong: a page is longer than the model can read.
            AdapterError: the adapter cannot be loaded on this base.
            Cancelled: `cancel` was set.
        """
        self.adapters.use(request.adapter)
        found = []
        with torch.inference_mode():
            for page in request.pages:
                self._check(len(page.tokens), cancel)
                self._threads.set(len(page.tokens))
                found.append(point(self._model, [page])[0].pointers())
        return found

    def compare(self, text: Tokens, passages: Sequence[Tokens], cancel: Event | None = None) -> list[Comparison]:
        """Compare a text to each passage without an adapter: closeness as in `rank`, and token by token.

        Raises:
            PromptTooLong: one is longer than the model can read.
            Cancelled: `cancel` was set.
        """
        identity = self.adapters.use(None)
        with torch.inference_mode():
            asked, *offered = (embedded.float() for embedded in self._embed([text, *passages], identity, cancel))
            means = torch.stack([passage[0] for passage in offered]) @ asked[0]
            alike = torch.stack([(asked[1:] @ passage[1:].T).amax(-1) for passage in offered])
            scores = SCALE * (means + alike.mean(-1))
        return [Comparison(*found) for found in zip(scores.tolist(), map(tuple, alike.tolist()), strict=True)]

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """Not for encoders.

        Raises:
            EngineError: always.
        """
        raise EngineError("An encoder cannot write.", hint="Let a causal language model fill in the arguments.")

    def _check(self, longest: int, cancel: Event | None) -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled("The request was cancelled.")
        if longest > self._longest:
            raise PromptTooLong(
                f"A text has {longest} tokens; this encoder reads {self._longest}.",
                hint="Shorten the request or the tool's description.",
            )

    def _embed(self, passages: Sequence[Tokens], identity: str, cancel: Event | None) -> list[torch.Tensor]:
        """In the order of `passages`; what is new is computed and kept."""
        found = {p: self.vectors[identity, p] for p in passages if (identity, p) in self.vectors}
        new = [passage for passage in dict.fromkeys(passages) if passage not in found]
        for batch in batches(new, BATCH_TOKENS):
            self._check(max(map(len, batch)), cancel)
            self._threads.set(sum(len(passage) for passage in batch))
            for passage, vectors in zip(batch, embed(self._model, batch), strict=True):
                found[passage] = vectors.half()
        for passage in passages:
            self.vectors[identity, passage] = found[passage]
            self.vectors.move_to_end((identity, passage))
        while len(self.vectors) > KEPT_TEXTS:
            self.vectors.popitem(last=False)
        return [found[passage] for passage in passages]


def _closest(asked: torch.Tensor, offered: Sequence[torch.Tensor]) -> torch.Tensor:
    """[N]: `closeness` of a request to many passages, in bounded time."""
    asked = asked.float()
    means = torch.stack([passage[0] for passage in offered]).float() @ asked[0]
    near = means.topk(min(LOOKED_AT, len(offered))).indices
    _, (alike,) = closeness([asked], [offered[number].float() for number in near.tolist()])
    return (means + alike.min()).index_copy(0, near, means[near] + alike)


def split_passages(tokens: Tokens, start: int) -> list[Tokens]:
    """An option's passages: each begins with the `start` token."""
    places = [place for place, token in enumerate(tokens) if token == start]
    return [tokens[at:end] for at, end in pairwise([*places, len(tokens)])]


def batches(passages: Sequence[Tokens], limit: int) -> Iterator[list[Tokens]]:
    """Passages of like length together, at most `limit` tokens of padded passages a batch (one at least)."""
    batch: list[Tokens] = []
    for passage in sorted(passages, key=len):
        if batch and len(passage) * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(passage)
    if batch:
        yield batch


def embed(model: Any, passages: Sequence[Tokens]) -> list[torch.Tensor]:
    """For each passage [1 + T, D] in float32: the mean of its last hidden states, and its states but those of the
    first and last token, which mark begin and end."""
    longest = max(map(len, passages))
    ids = torch.tensor([[*passage, *[0] * (longest - len(passage))] for passage in passages], device=model.device)
    lengths = torch.tensor([len(passage) for passage in passages], device=model.device)
    mask = torch.arange(longest, device=model.device)[None] < lengths[:, None]
    hidden = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
    means = functional.normalize((hidden * mask[..., None]).sum(1), dim=-1)
    states = functional.normalize(hidden, dim=-1)
    return [
        torch.cat([mean[None], row[1 : max(len(passage) - 1, 2)]])
        for passage, mean, row in zip(passages, means, states, strict=True)
    ]


def closeness(asked: Sequence[torch.Tensor], offered: Sequence[torch.Tensor]) -> torch.Tensor:
    """[2, Q, N] of embedded requests and passages: that of their means, and that of their tokens."""
    cosines = torch.cat(list(asked)) @ torch.cat(list(offered)).T
    (rows, first_rows), (columns, first_columns) = _places(asked), _places(offered)
    best = cosines[:, columns].masked_fill(columns < 0, -1.0).amax(-1)
    alike = (best[rows] * (rows >= 0)[..., None]).sum(1) / (rows >= 0).sum(1, keepdim=True)
    return torch.stack([cosines[first_rows][:, first_columns], alike])


def _places(texts: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each text's tokens lie when all are put together, [N, T] with -1 after the last, and its mean, [N]."""
    sizes = torch.tensor([len(text) for text in texts], device=texts[0].device)
    begin = sizes.cumsum(0) - sizes
    steps = torch.arange(1, int(sizes.max()), device=sizes.device)[None]
    return (begin[:, None] + steps).masked_fill(steps >= sizes[:, None], -1), begin


def best_passages(closeness: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """[..., N] of passages -> [..., options]: each option is as good as its best passage.

    `sizes` says how many passages each option has, in order.
    """
    return torch.stack([part.max(-1).values for part in closeness.split(list(sizes), -1)], -1)
