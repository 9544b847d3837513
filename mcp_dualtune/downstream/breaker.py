"""A circuit breaker: calls that keep failing are not tried for a while, then tried with one of them.

Owns the count and the pauses of one server's calls. Refuses to own: what counts as a failure, starts, and the clock,
which every caller brings along.
"""

from __future__ import annotations

import math
import random
from typing import Literal

Circuit = Literal["closed", "open", "half-open"]
"""`closed` is the normal state; `open` refuses calls at once; `half-open` waits for how one call ends."""
Admission = Literal["go", "probe", "refused"]

FAILURES_TO_OPEN = 3
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until an open circuit is tried again; doubles with every failure in a row."""


def jittered(seconds: float) -> float:
    """About `seconds`: what failed together should not be tried again together."""
    return seconds * random.uniform(0.75, 1.25)


class Breaker:
    """The circuit of one server; all times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row."""
        self.retry_at: float | None = None
        """When an open circuit lets a call through; None while it is closed."""
        self._pause = FIRST_PAUSE
        self._probing = False
        self._last_failure = -math.inf

    @property
    def circuit(self) -> Circuit:
        """The state as people know it."""
        if self.retry_at is None:
            return "closed"
        return "half-open" if self._probing else "open"

    def admit(self, now: float) -> Admission:
        """Say whether a call may be made; after `probe` the caller also owes `probed` in the end."""
        if self.retry_at is None:
            return "go"
        if self._probing or now < self.retry_at:
            return "refused"
        self._probing = True
        return "probe"

    def probed(self) -> None:
        """The call that was let through has ended, however it did."""
        self._probing = False

    def succeeded(self) -> None:
        """A call was answered."""
        self.failures, self.retry_at, self._pause = 0, None, FIRST_PAUSE

    def failed(self, began: float, now: float) -> None:
        """A call that began at `began` failed; calls that were under way together fail together and count once."""
        if began < self._last_failure:
            return
        self._last_failure = now
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.retry_at = now + jittered(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
