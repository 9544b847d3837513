"""Times of day in a request, as facts that a model may copy: `quarter to six in the evening` is 17:45.

Only for tools with a parameter that takes a time of day written HH:MM. Which time belongs to which parameter is left to
the model. Without a word on the part of the day, hours are taken as they are said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mcp_dualtune.prompting.numerals import SMALL
from mcp_dualtune.types import JSON

TIME = re.compile(r"\bHH:MM\b|\b24[- ]?h(?:our)?\b", re.IGNORECASE)
"""How a parameter that takes a time of day is described."""
NAMED = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
DATED = re.compile(
    r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?,?\s+(?:\d{1,2}(?:st|nd|rd|th)?,?\s+)?$",
    re.IGNORECASE,
)
"""What makes four digits behind it a year."""
FRACTIONS = {"half": 30, "quarter": 15, "a quarter": 15}
TIMES = 4
"""Facts a request gets at most."""

_HOUR = r"(?P<{0}>\d{{1,2}}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_PART = (
    r"(?:\s*(?P<half>[ap])\.?\s?m\b\.?|\s+(?:o'?clock\s*)?"
    r"(?:(?:in\s+the|this)\s+(?P<day>morning|afternoon|evening)|at\s+(?P<night>night)|(?P<tonight>tonight)))?"
)
_SPOKEN = (
    r"(?P<minutes>half|(?:a\s+)?quarter|(?:\d{1,2}|five|ten|twenty|twenty[- ]five)(?:\s+minutes)?)\s+"
    rf"(?P<side>past|after|to|before|till)\s+{_HOUR.format('around')}"
)
CLOCK = re.compile(
    rf"\b(?:{_SPOKEN}|half\s+{_HOUR.format('half_of')}|(?P<name>noon|midday|midnight)"
    rf"|{_HOUR.format('hour')}(?:[:.h](?P<minute>[0-5]\d)|\s*(?P<oclock>o'?clock|(?=\s*[ap]\.?m\b|\s+(?:in\s+the|at\s+night))))"
    rf"|(?<![-/.])(?P<plain>[01]\d[0-5]\d|2[0-3][0-5]\d)(?=\s*(?:h(?:ou)?rs\b|h\b)|\b(?!\s*[-/.]?\d)))(?!\d){_PART}",
    re.IGNORECASE,
)


def clock_facts(text: str, schema: Mapping[str, JSON]) -> dict[str, str]:
    """The times that `text` says in other ways than HH:MM, in order; empty where no parameter takes a time of day."""
    if not any(_takes_time(part) for part in (schema.get("properties") or {}).values()):
        return {}
    facts: dict[str, str] = {}
    for found in CLOCK.finditer(text):
        time = time_of(found)
        year = found["plain"] and DATED.search(text[: found.start()])
        if time is not None and time != found[0] and len(facts) < TIMES and not year:
            facts[found[0].strip()] = time
    return facts


def _takes_time(schema: JSON) -> bool:
    if not isinstance(schema, Mapping) or schema.get("type") not in (None, "string"):
        return False
    described = schema.get("description")
    return schema.get("format") == "time" or (isinstance(described, str) and bool(TIME.search(described)))


def time_of(found: re.Match[str]) -> str | None:
    """The time of day that a match of `CLOCK` says, as HH:MM; None where it is none."""
    if found["name"]:
        return NAMED[found["name"].lower()]
    if found["plain"]:
        return f"{found['plain'][:2]}:{found['plain'][2:]}"
    hour = _number(found["around"] or found["half_of"] or found["hour"])
    minute = int(found["minute"] or 0)
    if found["half_of"]:
        minute = 30
    if found["side"]:
        words = re.sub(r"\s+minutes$|-", " ", found["minutes"].lower()).strip()
        minute = FRACTIONS.get(words) or sum(map(_number, words.split()))
        if found["side"].lower() in ("to", "before", "till"):
            hour, minute = hour - 1, 60 - minute
    part = (found["half"] or found["day"] or found["night"] or found["tonight"] or "").lower()
    if part in ("a", "morning"):
        hour %= 12
    elif part:
        hour = hour % 12 + (12 if part != "night" or hour % 12 >= 5 else 0)
    return f"{hour % 24:02}:{minute:02}" if hour <= 24 and minute < 60 else None


def _number(word: str) -> int:
    return int(word) if word.isdigit() else SMALL[word.lower()]
