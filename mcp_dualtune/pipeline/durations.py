"""Lengths of time in a request, as facts that a model may copy: `half an hour` is 30 for a parameter in minutes.

Only for tools with a number whose name or description tells its unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mcp_dualtune.prompting.numerals import DIGITS, number_of
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON

DURATIONS = 4
"""Facts a request gets at most."""
SECONDS = {"millisecond": 0.001, "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
SHORT = {
    "ms": "millisecond", "msec": "millisecond", "s": "second", "sec": "second", "min": "minute", "h": "hour",
    "hr": "hour",
}  # fmt: skip
WORDS = {**SHORT, **{unit: unit for unit in SECONDS}}
UNIT = re.compile(rf"\b(?:(?P<long>{'|'.join(SECONDS)})s?|(?P<short>{'|'.join(SHORT)})s?)\b", re.IGNORECASE)
_LONG = "|".join(SECONDS)
SAID = re.compile(
    rf"\b(?:(?P<half>half(?:\s+an?)?\s)|(?P<quarter>(?:a\s+)?quarter\s+of\s+an?\s)"
    rf"|(?P<digits>{DIGITS})[\s-]?(?=(?:{_LONG}|ms|secs?|mins?|hrs?|h|s)\b|(?:{_LONG})s\b)"
    rf"|(?P<words>(?:[a-z]+[- ])?[a-z]+)(?P<and_half>\s+and\s+a\s+half)?[\s-](?=(?:{_LONG})s?\b))"
    rf"(?P<unit>[a-z]+)(?P<more>\s+and\s+a\s+half)?\b",
    re.IGNORECASE,
)


def duration_facts(text: str, schema: Mapping[str, JSON]) -> dict[str, str]:
    """The lengths of time that `text` says in another unit than a parameter's, in order."""
    units = list(dict.fromkeys(_units(schema)))
    facts: dict[str, str] = {}
    for found in SAID.finditer(text) if units else ():
        said, counted = _unit(found["unit"]), _count(found)
        if said is None or counted is None:
            continue
        words, count = counted
        for unit in units:
            value = count * SECONDS[said] / SECONDS[unit]
            if unit != said and value == int(value) > 0 and len(facts) < DURATIONS:
                facts[f"{words} in {unit}s" if len(units) > 1 else words] = str(int(value))
    return facts


def _units(schema: Mapping[str, JSON]) -> Iterator[str]:
    for name, part in (schema.get("properties") or {}).items():
        if isinstance(part, Mapping) and part.get("type") in ("integer", "number") and "enum" not in part:
            about = part.get("description")
            for text in (spaced(name), about if isinstance(about, str) else ""):
                if found := UNIT.search(text):
                    yield SHORT.get((found["short"] or "").lower()) or found["long"].lower()
                    break


def _unit(word: str) -> str | None:
    word = word.lower()
    return WORDS.get(word) or WORDS.get(word.removesuffix("s"))


def _count(found: re.Match[str]) -> tuple[str, float] | None:
    """(the words of the length, how many units it is)."""
    half = 0.5 if found["and_half"] or found["more"] else 0.0
    if found["half"] or found["quarter"]:
        return found[0], 0.5 if found["half"] else 0.25
    if found["digits"]:
        number = number_of(found["digits"])
        return None if number is None else (found[0], number + half)
    for part in (found["words"], re.split(r"[- ]", found["words"])[-1]):
        number = 1 if part.lower() in ("a", "an", "one") else number_of(part)
        if number is not None:
            return found[0][len(found["words"]) - len(part) :], number + half
    return None
