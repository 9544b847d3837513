"""Dates in a request, as facts that a model may copy: `the 12th of May 2026 at 9:15 UTC` is 2026-05-12T09:15:00Z.

Only for tools whose schema says how a date is to be written. Which date belongs to which parameter is left to the
model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from mcp_dualtune.pipeline.clock import CLOCK, time_of
from mcp_dualtune.prompting.numerals import number_of
from mcp_dualtune.prompting.unions import options_of
from mcp_dualtune.types import JSON

DATES, NESTED = 4, 6
"""Facts a request gets at most, and how deep parameters are looked for."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = {"the day before yesterday": -2, "yesterday": -1, "today": 0, "tomorrow": 1, "the day after tomorrow": 2}
LENGTHS = {"day": 1, "week": 7, "fortnight": 14}

_MONTH = (
    r"(?P<{0}>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?P<{0}>\d{{1,2}})(?P<{0}th>st|nd|rd|th)?(?!\d|[:.]\d)"
_YEAR = r"(?P<{0}>(?:1[5-9]|20)\d\d)(?![\d:])"
_WEEKDAY = "|".join(WEEKDAYS)
SAID = re.compile(
    rf"(?<![\w/.-])(?:(?:(?:{_WEEKDAY}),?\s+(?:the\s+)?)?(?:"
    rf"(?:the\s+)?{_DAY.format('d1')}\s+(?:of\s+)?{_MONTH.format('m1')}(?:,?\s+(?:of\s+)?{_YEAR.format('y1')})?"
    rf"|{_MONTH.format('m2')}\s+(?:the\s+)?{_DAY.format('d2')}(?:,?\s+{_YEAR.format('y2')})?)"
    rf"|{_MONTH.format('m3')}\s+(?:of\s+|\()?{_YEAR.format('y3')}\)?"
    r"|(?P<y4>(?:19|20)\d\d)[-/.](?P<m4>\d\d)[-/.](?P<d4>\d\d)(?!T?\d)"
    r"|(?P<n1>\d{1,2})(?P<mark>[/.])(?P<n2>\d{1,2})(?P=mark)(?P<y5>(?:19|20)\d\d)"
    rf"|(?P<near>{'|'.join(sorted(DAYS, key=len, reverse=True))})"
    rf"|(?:(?P<which>next|this|last|coming|on)\s+)(?P<weekday>{_WEEKDAY})"
    r"|in\s+(?P<after>\w+)\s+(?P<unit1>day|week|fortnight)s?|(?P<before>\w+)\s+(?P<unit2>day|week|fortnight)s?\s+ago"
    r")(?![\w/]|[-.]\w)",
    re.IGNORECASE,
)
BETWEEN = re.compile(r"[\s,]*(?:at|from|by|-|@)?\s*", re.IGNORECASE)
"""What may stand between a date and its time."""
BEFORE = re.compile(r"\s*(?P<zone>UTC|GMT|Z)?\s*(?:on|of|,)?\s*", re.IGNORECASE)
"""What may stand between a time and its date."""
UTC = re.compile(r"\s*(?:UTC|GMT|Z)\b")
WRITTEN = re.compile(
    r"(?<![A-Za-z])(?:YYYY|MM|DD)(?P<mark>[-/.]?)(?:MM|DD)(?:(?P=mark)(?:YYYY|DD))?(?![A-SU-Za-su-z])"
    r"(?:(?P<join>[T ]|'T')(?P<time>HH:MM(?::SS)?)(?P<zone>'?Z'?)?)?(?![A-Za-z])",
    re.IGNORECASE,
)
"""A format as descriptions spell it."""
SAMPLE = re.compile(
    r"(?<!\d)(?:19|20)\d\d-\d\d(?P<day>-\d\d)?"
    r"(?:(?P<join>[T ])\d\d:\d\d(?P<seconds>:\d\d)?(?:\.\d+)?(?P<zone>Z)?)?(?!\d)"
)
STANDARD = re.compile(r"\bISO(?:[- _]?8601)?\b|\bRFC[- ]?3339\b")
DATE_ONLY = re.compile(r"\bdate\b(?!\s*(?:and |/|-)?\s*time)", re.IGNORECASE)
LOCAL = re.compile(r"\blocal\b|\bwithout (?:zone|offset|time ?zone)", re.IGNORECASE)
DATE, DATE_TIME, LOCAL_TIME = "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%Z"
"""The format `date-time` must have an offset (RFC 3339); else a time that is not said to be UTC stays without one."""
FORMAT = re.compile(r"%Y-%m-%d(?P<time>[T ]%H:%M(?::%S)?)?")


@dataclass(frozen=True)
class _Said:
    """A date in a text, with its words."""

    words: str
    day: date
    time: str | None = None
    utc: bool = False
    whole_month: bool = False


def date_facts(text: str, schema: Mapping[str, JSON], today: str | None = None) -> dict[str, str]:
    """The dates that `text` says otherwise than the tool wants them, in order; relative ones need `today` (ISO 8601).

    Empty where no parameter says how dates are written.
    """
    styles = list(dict.fromkeys(_styles(schema)))
    facts: dict[str, str] = {}
    for said in _dates(text, _iso(today)) if styles else ():
        fitting = [style for style in styles if _fits(said, style)]
        if fitting and len(facts) < DATES:
            # With a time for a parameter that takes one, without for one that does not.
            style = min(fitting, key=lambda style: ("%H" in style) != (said.time is not None))
            zone = "Z" if said.utc or said.time is None else ""
            written = said.day.strftime(style.replace("%H:%M", said.time or "00:00").replace("%Z", zone))
            if written != said.words:
                facts[said.words] = written
    return facts


def _fits(said: _Said, style: str) -> bool:
    return said.whole_month == ("%d" not in style)


def _styles(schema: JSON, depth: int = 0) -> Iterator[str]:
    """How the parameters of a tool want their dates, as `strftime` formats."""
    if not isinstance(schema, Mapping) or depth > NESTED:
        return
    style = _style(schema) if schema.get("type") in ("string", ["string", "null"]) else None
    if style is not None:
        yield style
    inner = schema.get("properties")
    parts = [*(inner.values() if isinstance(inner, Mapping) else ()), *options_of(schema)]
    about = {key: schema[key] for key in ("description",) if key in schema}
    for part in [*parts, schema.get("items")]:
        yield from _styles({**about, **part} if isinstance(part, Mapping) else part, depth + 1)


def _style(schema: Mapping[str, Any]) -> str | None:
    about = " ".join(str(schema[key]) for key in ("description", "examples", "default") if schema.get(key))
    if spelled := FORMAT.search(about):
        return spelled[0]
    if (form := WRITTEN.search(about)) and re.search("yyyy", form[0], re.IGNORECASE):
        day = form[0][: _end(form)].upper().replace("YYYY", "%Y").replace("MM", "%m").replace("DD", "%d")
        if not form["time"]:
            return day
        seconds = ":%S" if form["time"].count(":") > 1 else ""
        return f"{day}{form['join'].strip(chr(39))}%H:%M{seconds}" + ("Z" if form["zone"] else "")
    if form := SAMPLE.search(about):
        day = DATE if form["day"] else "%Y-%m"
        seconds = ":%S" if form["seconds"] else ""
        return day + (f"{form['join']}%H:%M{seconds}{form['zone'] or ''}" if form["join"] else "")
    if schema.get("format") in ("date", "date-time"):
        moment = LOCAL_TIME if LOCAL.search(about) else DATE_TIME
        return DATE if schema["format"] == "date" else moment
    if STANDARD.search(about):
        return DATE if DATE_ONLY.search(about) else LOCAL_TIME
    return None


def _end(form: re.Match[str]) -> int:
    """Where the date ends in a spelled format."""
    return len(form[0]) if form["join"] is None else form.start("join") - form.start()


def _dates(text: str, today: date | None) -> Iterator[_Said]:
    times = {found.span(): found for found in CLOCK.finditer(text) if time_of(found)}
    for found in SAID.finditer(text):
        day = _day(found, today)
        if day is None:
            continue
        start, end, time, utc = *found.span(), None, False
        for (first, last), clock in times.items():
            if first >= end and BETWEEN.fullmatch(text[end:first]):
                time, end = time_of(clock), last
                break
            if last <= start and (between := BEFORE.fullmatch(text[last:start])):
                time, start, utc = time_of(clock), first, between["zone"] is not None
                break
        if time is not None and (zone := UTC.match(text, end)):
            end, utc = zone.end(), True
        yield _Said(text[start:end].strip(), day, time, utc, found["m3"] is not None)


def _day(found: re.Match[str], today: date | None) -> date | None:
    """The day that a match names; None where there is none, or where it needs to be known what day it is."""
    try:
        if found["near"]:
            return today and today + timedelta(DAYS[found["near"].lower()])
        if found["weekday"]:
            return today and _weekday(today, found["which"].lower(), WEEKDAYS.index(found["weekday"].lower()))
        if found["unit1"] or found["unit2"]:
            count = number_of(found["after"] or found["before"])
            length = LENGTHS[(found["unit1"] or found["unit2"]).lower()]
            sign = 1 if found["unit1"] else -1
            return None if today is None or count is None else today + timedelta(sign * count * length)
        if found["y4"]:
            return date(int(found["y4"]), int(found["m4"]), int(found["d4"]))
        if found["y5"]:
            first, second = int(found["n1"]), int(found["n2"])
            if first <= 12 and second <= 12 and found["mark"] == "/":
                return None  # day or month first: it depends on the country
            day, month = (first, second) if second <= 12 else (second, first)
            return date(int(found["y5"]), month, day)
        month = 1 + MONTHS.index((found["m1"] or found["m2"] or found["m3"])[:3].lower())
        day, year = int(found["d1"] or found["d2"] or 1), found["y1"] or found["y2"] or found["y3"]
        if (
            year is None
            and (found["m1"] or found["m2"]) in ("may", "march", "mar")
            and not (found["d1th"] or found["d2th"])
        ):
            return None  # a verb, more likely
        if year is None:
            # The nearest one: who says "3 June" in May means this June, and in July too.
            near = [date(today.year + shift, month, day) for shift in (-1, 0, 1)] if today else []
            return min(near, key=lambda one: abs(one - (today or one)), default=None)
        return date(int(year), month, day)
    except (ValueError, OverflowError):
        return None


def _weekday(today: date, which: str, weekday: int) -> date:
    ahead = (weekday - today.weekday()) % 7
    if which == "last":
        return today + timedelta(ahead - 7)
    return today + timedelta(ahead or 7 if which != "this" else ahead)


def _iso(today: str | None) -> date | None:
    try:
        return date.fromisoformat(today or "")
    except ValueError:
        return None
