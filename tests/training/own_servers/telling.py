"""Somebody who is told how far a run is."""

from __future__ import annotations

from collections.abc import Callable


class Told:
    """Keeps what it is told; calls `after` at every share."""

    def __init__(self, after: Callable[[Told], None] = lambda told: None) -> None:
        self.phases: list[str] = []
        self.shares: list[float] = []
        self._after = after

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def share(self, done: float, left: float) -> None:
        self.shares.append(done)
        self._after(self)
