"""How many CPU threads each forward pass uses.

Owns that one choice. Torch's thread count is a setting of the calling thread, so the engine sets it before each pass.
"""

from __future__ import annotations

import os
from typing import Any

import torch

SMALL_MODEL_BYTES = 100 * 2**20
"""Up to this size a pass takes milliseconds, and threads spend them waiting for each other: when another program holds
one of the cores, two threads are many times slower than one. Larger weights are bound by memory and need all cores."""
SMALL_MODEL_PREFILL = 256
"""Tokens in one pass from which on a small model uses several threads."""
SMALL_MODEL_THREADS = 4


class Threads:
    """Sets the thread count for a pass of a number of tokens."""

    def __init__(self, model: Any, threads: int | None) -> None:
        size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
        small = size <= SMALL_MODEL_BYTES
        # A small model leaves one core to the programs that it works for.
        self._many = threads or (max(1, min(_cores() - 1, SMALL_MODEL_THREADS)) if small else _cores())
        self._few = threads or (1 if small else self._many)

    def set(self, tokens: int) -> None:
        """Prepare for a pass over `tokens` tokens."""
        wanted = self._many if tokens >= SMALL_MODEL_PREFILL else self._few
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)


def _cores() -> int:
    # The affinity mask knows limits of containers and batch systems that the plain count does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
