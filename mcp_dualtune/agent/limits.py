"""Where a run of several steps must end: calls, working time, and going round in a circle.

Owns the counting. What a reached limit means for the user is the loop's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import anyio

from mcp_dualtune.config import LimitSettings
from mcp_dualtune.types import HistoryItem, Step, ToolCall, ToolResult, canonical


class WorkingTime:
    """Seconds that the model and the servers have used; a person's thinking time is not counted."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def scope(self) -> AbstractContextManager[anyio.CancelScope]:
        """A scope around one piece of work: cancelled when the time is used up (then `cancelled_caught` is true)."""
        return _Counted(self)

    def use(self, seconds: float) -> None:
        """Take `seconds` off."""
        self._left -= seconds

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(self._left, 0.0)


class _Counted(AbstractContextManager[anyio.CancelScope]):
    def __init__(self, time: WorkingTime) -> None:
        self._time = time

    def __enter__(self) -> anyio.CancelScope:
        self._started = anyio.current_time()
        self._scope = anyio.move_on_after(self._time.left)
        return self._scope.__enter__()

    def __exit__(self, *error: object) -> bool:
        self._time.use(anyio.current_time() - self._started)
        return bool(self._scope.__exit__(*error))  # type: ignore[arg-type]


class Circle:
    """Notices a run that makes no headway: the same call with the same result."""

    def __init__(self, limits: LimitSettings, history: Sequence[HistoryItem] = ()) -> None:
        self._limit = limits.repeat
        self._made = {item.call.key for item in history}
        self._results: dict[tuple[str, str], int] = {}

    def made_before(self, call: ToolCall) -> bool:
        """Whether this very call was made already for this request."""
        return call.key in self._made

    def add(self, step: Step) -> bool:
        """Count a step; True when its call has now given the same result as often as the limit allows."""
        key = (step.call.key, _result_key(step.result))
        self._made.add(key[0])
        self._results[key] = self._results.get(key, 0) + 1
        return self._results[key] >= max(self._limit, 2)


def _result_key(result: ToolResult) -> str:
    return canonical([[dict(block) for block in result.content], result.structured, result.is_error])
