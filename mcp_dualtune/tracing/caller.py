"""Who asked for what happens now: through which front door, and which client.

Owns carrying it from the door to the records, past everything between that has no use for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The other end of a front door."""

    door: str = "library"
    """`stdio`, `http`, `sse`, `cli`, or `library` for a program that uses the package."""
    client: str | None = None
    """Name and version, as the client gives them."""


NOBODY = Caller()
_now: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def caller() -> Caller:
    """Who asked for what happens now."""
    return _now.get()


@contextmanager
def called_by(who: Caller) -> Iterator[None]:
    """Everything inside, tasks started there included, happens for `who`."""
    token = _now.set(who)
    try:
        yield
    finally:
        _now.reset(token)
