"""Groups of examples -> rows of fixed length, with the attention structure of a tree.

A row holds several groups. Within a group the stable prefix is laid down once; each branch (request and answer)
attends to the prefix and to itself, never to its siblings, and its positions continue the prefix's. So a branch sees
exactly what it will see when it is served.

Shapes: T tokens a row; every array is [T].
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcp_dualtune.training.examples import Example

Array = npt.NDArray[np.int32]
PROMPT_WEIGHT = 0.1
"""Loss weight of the prompt's own tokens in pre-training: reading tool lists also teaches their language."""
READ_SHARE = 0.25
"""Share of groups whose prompt tokens are targets at all: the output layer is a third of the cost of a step."""
MAX_SHIFT = 1024
"""Positions start anywhere up to here, so that longer prompts than a row are no strange land when serving."""


@dataclass
class Row:
    """One packed row."""

    tokens: Array
    segment: Array
    """Which prefix or branch a token belongs to; padding is -1."""
    root: Array
    """The segment of the group's prefix."""
    position: Array
    target: Array
    """Next token within the segment; -1 where there is none."""
    weight: npt.NDArray[np.float32]
    """Loss weight of the target: 1 on answers, less on prompts, 0 elsewhere."""


class Packer:
    """Fills rows of `length` tokens from groups; a group too long for a row loses branches, then is dropped."""

    def __init__(self, length: int, pad: int, prompt_weight: float, rng: random.Random) -> None:
        self.length, self.pad, self.prompt_weight, self.rng = length, pad, prompt_weight, rng
        self.dropped = 0
        self._clear()

    def _clear(self) -> None:
        n = self.length
        self.used, self.segments = 0, 0
        self.row = Row(
            np.full(n, self.pad, np.int32), np.full(n, -1, np.int32), np.full(n, -1, np.int32),
            np.zeros(n, np.int32), np.full(n, -1, np.int32), np.zeros(n, np.float32),
        )  # fmt: skip

    def add_group(self, group: Sequence[Example]) -> Iterator[Row]:
        """Examples with one common stable prefix."""
        prefix = group[0].tokens[: group[0].stable] if group else ()
        taken: list[Example] = []
        total = len(prefix)
        for example in group:
            size = len(example.tokens) - example.stable + len(example.answer)
            if total + size > self.length:
                self.dropped += 1
            elif self.used + total + size <= self.length:
                taken.append(example)
                total += size
            elif not taken:
                yield self.finish()
                taken.append(example)
                total += size
            else:  # the row is full: what remains of the group starts the next one
                self._group(prefix, taken)
                yield self.finish()
                taken, total = [example], len(prefix) + size
        if taken:
            self._group(prefix, taken)

    def finish(self) -> Row:
        """The row as it is; the next one starts empty."""
        row = self.row
        self._clear()
        return row

    def _group(self, prefix: Sequence[int], branches: Sequence[Example]) -> None:
        shift = self._shift()
        read = self.prompt_weight if self.rng.random() < READ_SHARE else 0.0
        root = self._segment(prefix, None, shift, np.full(len(prefix), read, np.float32))
        for example in branches:
            prompt = example.tokens[example.stable :]
            weight = np.full(len(prompt) + len(example.answer), read, np.float32)
            # The weight of a position is that of the token it predicts, so answers start one position early.
            weight[len(prompt) - 1 :] = 1.0
            self._segment((*prompt, *example.answer), root, shift + len(prefix), weight)

    def _segment(self, tokens: Sequence[int], root: int | None, position: int, weight: npt.NDArray[np.float32]) -> int:
        n, at, number = len(tokens), self.used, self.segments
        row, span = self.row, slice(at, at + n)
        row.tokens[span] = tokens
        row.segment[span] = number
        row.root[span] = number if root is None else root
        row.position[span] = np.arange(position, position + n)
        row.target[at : at + n - 1] = tokens[1:]
        row.weight[span] = weight
        row.weight[at + n - 1] = 0.0
        self.used += n
        self.segments += 1
        return number

    def _shift(self) -> int:
        return self.rng.randrange(MAX_SHIFT) if self.rng.random() < 0.5 else 0


def stream(
    make: Callable[[random.Random], Sequence[Example]],
    seed: str,
    start: int,
    length: int,
    pad: int,
    prompt_weight: float = PROMPT_WEIGHT,
    chunk: int = 64,
) -> Iterator[Row]:
    """Endless rows. Chunk k of `chunk` rows depends on (seed, k) only, so `start` rows can be skipped at once."""
    number, skip = divmod(start, chunk)
    while True:
        rng = random.Random(f"{seed}/{number}")
        packer = Packer(length, pad, prompt_weight, rng)
        rows: list[Row] = []
        while len(rows) < chunk:
            rows += packer.add_group(make(rng))
        yield from rows[skip:chunk]
        number, skip = number + 1, 0
