"""Regular expressions that servers wrote, matched within a limit of time.

Owns the keywords of JSON Schema that hold patterns. A pattern that needs too long says nothing here: the server checks
its arguments itself. Refuses to own: wording (`schema`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from time import monotonic
from typing import Any

import regex  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from mcp_dualtune.types import JSON, canonical

MATCH_SECONDS = 0.1
"""For one text; an honest pattern needs microseconds, a hostile one the age of the universe."""
ALL_SECONDS = 1.0
"""For all patterns of one check."""


class Clock:
    """The time that the patterns of one check have left."""

    def __init__(self) -> None:
        self._left = ALL_SECONDS

    def matches(self, pattern: str, text: str) -> bool:
        """Whether `pattern` is found in `text`; yes also when that cannot be said in time."""
        if self._left <= 0:
            return True
        began = monotonic()
        try:
            return _compiled(pattern).search(text, timeout=min(MATCH_SECONDS, self._left)) is not None
        except (regex.error, TimeoutError, RecursionError, MemoryError):
            return True
        finally:
            self._left -= monotonic() - began


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> Any:
    return regex.compile(pattern)


_clock: ContextVar[Clock] = ContextVar("clock")
"""Of the check under way. The keywords find it here, as making a class of validators takes longer than most checks."""


def bounded_errors(schema: Mapping[str, JSON], instance: JSON) -> list[ValidationError]:
    """What is wrong with `instance` under Draft 2020-12; no pattern of `schema` can hold this up."""
    before = _clock.set(Clock())
    try:
        return list(_Bounded(schema).iter_errors(instance))
    finally:
        _clock.reset(before)


def _pattern(validator: Any, wanted: str, instance: JSON, _: JSON) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _clock.get().matches(wanted, str(instance)):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


def _pattern_properties(validator: Any, parts: Mapping[str, JSON], instance: Any, _: JSON) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for wanted, part in parts.items():
            for key in [key for key in instance if _clock.get().matches(wanted, key)]:
                yield from validator.descend(instance[key], part, path=key, schema_path=wanted)


def _additional_properties(
    validator: Any, allowed: JSON, instance: Any, around: Mapping[str, JSON]
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    extra = list(unknown_keys(instance, around, _clock.get()))
    if allowed is False and extra:
        yield ValidationError(f"{', '.join(extra)} not known")
    elif isinstance(allowed, Mapping):
        for key in extra:
            yield from validator.descend(instance[key], allowed, path=key)


def _unevaluated_properties(
    validator: Any, allowed: JSON, instance: JSON, around: Mapping[str, JSON]
) -> Iterator[ValidationError]:
    if '"patternProperties"' not in canonical(around):
        yield from Draft202012Validator.VALIDATORS["unevaluatedProperties"](validator, allowed, instance, around)


_KEYWORDS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
}
_Bounded: Any = extend(Draft202012Validator, _KEYWORDS)  # type: ignore[no-untyped-call]


def unknown_keys(instance: Iterable[str], around: Mapping[str, JSON], clock: Clock | None = None) -> Iterator[str]:
    """Keys of `instance` that the schema `around` it names nowhere."""
    clock = clock or Clock()
    known, patterns = around.get("properties", {}), around.get("patternProperties", {})
    for key in instance:
        if key not in known and not any(clock.matches(pattern, key) for pattern in patterns):
            yield key
