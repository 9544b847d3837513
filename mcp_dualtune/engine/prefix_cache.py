"""Keys and values of prompt starts that come again, so that they are computed once.

Owns look-up, bounds and eviction. Refuses to own: the model, and what counts as stable. Keys and values computed under
one adapter are wrong under another, so the adapter's identity is part of every key; the cache belongs to one model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers.cache_utils import DynamicCache, DynamicLayer

MIN_TOKENS = 16
"""Shorter starts cost less to compute than to keep."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """The keys and values of a token sequence; never written to."""

    identity: str
    tokens: Any
    """int32 [tokens]."""
    layers: tuple[tuple[Any, Any], ...] = field(repr=False)
    """Per layer: keys and values [1, heads, tokens, head size]."""
    size: int
    """Bytes."""


class PrefixCache:
    """Least-recently-used prompt starts within a number of megabytes.

    Stable starts (tool lists) outlive whole prompts: those are evicted first.
    """

    def __init__(self, megabytes: float) -> None:
        self._limit = int(megabytes * 2**20)
        self._stable: OrderedDict[_Entry, None] = OrderedDict()
        self._whole: OrderedDict[_Entry, None] = OrderedDict()
        self.size = 0
        """Bytes in use."""

    def __len__(self) -> int:
        return len(self._stable) + len(self._whole)

    def lookup(self, identity: str, tokens: Sequence[int], most: int) -> tuple[Any, int]:
        """The longest known start of `tokens` under the adapter `identity`, at most `most` tokens of it.

        Returns a cache that the caller may extend, and how many tokens it holds.
        """
        wanted = np.asarray(tokens[:most], dtype=np.int32)
        best, length = None, 0
        for entry in (*self._stable, *self._whole):
            if entry.identity == identity:
                common = _common(entry.tokens, wanted)
                if common > length:
                    best, length = entry, common
        if best is None or length < MIN_TOKENS:
            return DynamicCache(), 0
        kind = self._stable if best in self._stable else self._whole
        kind.move_to_end(best)
        views = [(keys[..., :length, :], values[..., :length, :]) for keys, values in best.layers]
        return _as_cache(views), length

    def store(self, identity: str, tokens: Sequence[int], cache: Any, *, stable: bool) -> None:
        """Keep the keys and values of `tokens`, which `cache` starts with.

        Nothing is kept when an entry covers them already, or when they are too short or too large to be worth it.
        """
        if len(tokens) < MIN_TOKENS:
            return
        ids = np.asarray(tokens, dtype=np.int32)
        kinds = (self._stable,) if stable else (self._stable, self._whole)
        for kind in kinds:
            for entry in kind:
                if entry.identity == identity and _common(entry.tokens, ids) == len(ids):
                    return
        size = sum(2 * layer.keys[..., : len(ids), :].numel() * layer.keys.element_size() for layer in cache.layers)
        # One whole prompt must not push out several tool lists.
        if size > (self._limit if stable else self._limit // 8):
            return
        layers = tuple(
            (layer.keys[..., : len(ids), :].clone(), layer.values[..., : len(ids), :].clone()) for layer in cache.layers
        )
        (self._stable if stable else self._whole)[_Entry(identity, ids, layers, size)] = None
        self.size += size
        while self.size > self._limit:
            entry, _ = (self._whole or self._stable).popitem(last=False)
            self.size -= entry.size

    def clear(self) -> None:
        """Forget everything."""
        self._stable.clear()
        self._whole.clear()
        self.size = 0


def branch(cache: Any, length: int) -> Any:
    """A cache with the first `length` tokens of the first row of `cache`, which extending does not change."""
    return _as_cache([(layer.keys[:1, :, :length], layer.values[:1, :, :length]) for layer in cache.layers])


def _as_cache(layers: Sequence[tuple[Any, Any]]) -> Any:
    """A DynamicCache on these very tensors; its `update` makes new ones instead of writing into them."""
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _common(one: Any, other: Any) -> int:
    """Length of the common start of two int32 arrays."""
    length = min(len(one), len(other))
    different = one[:length] != other[:length]
    return int(different.argmax()) if different.any() else length
