"""What the prefix cache finds, keeps and hands out."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from mcp_dualtune.engine.prefix_cache import PrefixCache, branch

TOKEN_BYTES = 2 * 2 * 4 * 4
"""Two layers of keys and values with four float32 each."""
MEGABYTE = 2**20


def filled(tokens: tuple[int, ...]) -> Any:
    """A cache whose values tell which token stands where."""
    cache = DynamicCache()
    for layer in range(2):
        part = torch.tensor(tokens, dtype=torch.float32)[None, None, :, None].repeat(1, 2, 1, 2) + layer
        cache.update(part, part + 0.5, layer)
    return cache


def store(prefixes: PrefixCache, tokens: range, *, identity: str = "base", stable: bool = True) -> None:
    prefixes.store(identity, tuple(tokens), filled(tuple(tokens)), stable=stable)


def test_the_longest_common_start_is_found() -> None:
    prefixes = PrefixCache(1)
    store(prefixes, range(40))
    store(prefixes, range(100))
    wanted = (*range(60), 7, 7, 7)
    cache, length = prefixes.lookup("base", wanted, len(wanted))
    assert length == cache.get_seq_length() == 60
    assert cache.layers[1].keys[0, 0, :, 0].tolist() == [float(token + 1) for token in range(60)]


def test_no_more_than_asked_for_is_handed_out() -> None:
    prefixes = PrefixCache(1)
    store(prefixes, range(40))
    assert prefixes.lookup("base", tuple(range(40)), 39)[1] == 39


def test_another_adapter_finds_nothing() -> None:
    prefixes = PrefixCache(1)
    store(prefixes, range(40), identity="one")
    assert prefixes.lookup("two", tuple(range(40)), 40)[1] == 0


def test_extending_what_was_handed_out_changes_no_entry() -> None:
    prefixes = PrefixCache(1)
    source = filled(tuple(range(40)))
    prefixes.store("base", tuple(range(40)), source, stable=True)
    source.layers[0].keys.zero_()
    for _ in range(2):
        cache, _ = prefixes.lookup("base", tuple(range(40)), 30)
        twig = branch(cache, 20)
        more = torch.full((1, 2, 5, 2), 99.0)
        for layer in range(2):
            cache.update(more, more, layer)
            twig.update(more, more, layer)
        assert cache.layers[0].keys[0, 0, :, 0].tolist() == [*map(float, range(30)), *[99.0] * 5]
        assert twig.layers[0].keys[0, 0, :, 0].tolist() == [*map(float, range(20)), *[99.0] * 5]


def test_what_an_entry_covers_is_not_stored_twice() -> None:
    prefixes = PrefixCache(1)
    store(prefixes, range(100))
    store(prefixes, range(50))
    store(prefixes, range(80), stable=False)
    assert (len(prefixes), prefixes.size) == (1, 100 * TOKEN_BYTES)


def test_bytes_are_bounded_and_whole_prompts_go_first() -> None:
    prefixes = PrefixCache(400 * TOKEN_BYTES / MEGABYTE)
    store(prefixes, range(1000, 1150))
    store(prefixes, range(2000, 2040), stable=False)
    store(prefixes, range(3000, 3150))
    store(prefixes, range(4000, 4080))
    assert prefixes.size == (150 + 150 + 80) * TOKEN_BYTES
    assert prefixes.lookup("base", tuple(range(2000, 2040)), 40)[1] == 0
    prefixes.lookup("base", tuple(range(1000, 1150)), 150)
    store(prefixes, range(5000, 5100))
    assert prefixes.size <= 400 * TOKEN_BYTES
    assert prefixes.lookup("base", tuple(range(1000, 1150)), 150)[1] == 150
    assert prefixes.lookup("base", tuple(range(3000, 3150)), 150)[1] == 0


def test_what_is_too_short_or_too_large_is_not_kept() -> None:
    prefixes = PrefixCache(100 * TOKEN_BYTES / MEGABYTE)
    store(prefixes, range(5))
    store(prefixes, range(200))
    store(prefixes, range(50), stable=False)
    assert (len(prefixes), prefixes.size) == (0, 0)
