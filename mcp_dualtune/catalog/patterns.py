"""Regular expressions that servers wrote, matched within a limit of time.

Owns the keywords of JSON Schema that hold patterns. A pattern that needs too long says nothing here: the server checks
its arguments itself. Refuses to own: wording (`schema`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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


def bounded_validator(schema: Mapping[str, JSON]) -> Any:
    """A validator of Draft 2020-12 that no pattern of `schema` can hold up."""
    clock = Clock()

    def pattern(validator: Any, wanted: str, instance: JSON, _: JSON) -> Iterator[ValidationError]:
        if validator.is_type(instance, "string") and not clock.matches(wanted, instance):
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    def pattern_properties(
        validator: Any, parts: Mapping[str, JSON], instance: JSON, _: JSON
    ) -> Iterator[ValidationError]:
        if validator.is_type(instance, "object"):
            for wanted, part in parts.items():
                for key in [key for key in instance if clock.matches(wanted, key)]:
                    yield from validator.descend(instance[key], part, path=key, schema_path=wanted)

    def additional_properties(
        validator: Any, allowed: JSON, instance: JSON, around: Mapping[str, JSON]
    ) -> Iterator[ValidationError]:
        if not validator.is_type(instance, "object"):
            return
        extra = list(unknown_keys(instance, around, clock))
        if allowed is False and extra:
            yield ValidationError(f"{', '.join(extra)} not known")
        elif isinstance(allowed, Mapping):
            for key in extra:
                yield from validator.descend(instance[key], allowed, path=key)

    def unevaluated_properties(
        validator: Any, allowed: JSON, instance: JSON, around: Mapping[str, JSON]
    ) -> Iterator[ValidationError]:
        if '"patternProperties"' not in canonical(around):
            yield from Draft202012Validator.VALIDATORS["unevaluatedProperties"](validator, allowed, instance, around)

    keywords = {
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
        "unevaluatedProperties": unevaluated_properties,
    }
    return extend(Draft202012Validator, keywords)(schema)  # type: ignore[no-untyped-call]


def unknown_keys(instance: Iterable[str], around: Mapping[str, JSON], clock: Clock | None = None) -> Iterator[str]:
    """Keys of `instance` that the schema `around` it names nowhere."""
    clock = clock or Clock()
    known, patterns = around.get("properties", {}), around.get("patternProperties", {})
    for key in instance:
        if key not in known and not any(clock.matches(pattern, key) for pattern in patterns):
            yield key
