"""How many CPU threads each forward pass uses.

Owns that one choice. Torch's thread count is a setting of the calling thread, so the engine sets it before each pass.
"""

from __future__ import annotations

import os
from typing import Any

import torch

SMALL_MODEL_BYTES = 100 * 2**20
"""Up to this size one token is computed faster than a second core can be woken: one thread is best, also when the
machine is busy. Reading larger weights is bound by memory, which needs all cores."""
PREFILL_FROM = 32
"""Tokens in one pass from which on a small model uses all threads."""


class Threads:
    """Sets the thread count for a pass of a number of tokens."""

    def __init__(self, model: Any, threads: int | None) -> None:
        size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        self._many = threads or _cores()
        self._few = threads or (1 if size <= SMALL_MODEL_BYTES else self._many)

    def set(self, tokens: int) -> None:
        """Prepare for a pass over `tokens` tokens."""
        wanted = self._many if tokens >= PREFILL_FROM else self._few
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)


def _cores() -> int:
    # The affinity mask knows limits of containers and batch systems that the plain count does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
