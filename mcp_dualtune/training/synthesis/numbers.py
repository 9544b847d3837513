"""Made-up numbers by family, within what a schema allows.

Owns ranges and how a number is said.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from mcp_dualtune.prompting.numerals import TENS, UNITS
from mcp_dualtune.types import JSON

RANGES: Mapping[str, tuple[float, float]] = {
    "limit": (2, 100), "small": (1, 10), "quantity": (1, 12), "amount": (5, 5000), "percent": (5, 95),
    "degrees": (15, 28), "stars": (1, 5), "year": (1990, 2026), "measure": (2, 200), "port": (1024, 9999),
    "low_number": (1, 49), "high_number": (50, 500), "id": (100, 99999), "priority": (1, 5), "plain": (1, 120),
    "month": (1, 12), "coordinate": (-80, 80), "time": (0, 23), "price_low": (5, 99), "price_high": (100, 900),
}  # fmt: skip
UNIT_RANGES = {"seconds": (5, 120), "minutes": (5, 120), "hours": (1, 48), "days": (1, 60), "weeks": (1, 12),
               "months": (1, 60), "years": (1, 30), "milliseconds": (100, 9000)}  # fmt: skip
NEVER_IN_WORDS = {"id", "year", "port", "coordinate", "time"}
IN_WORDS = 0.25
"""Share of numbers up to twelve that are written as words."""
TIMES = {"date", "early_date", "late_date", "future_date"}
"""Families that are seconds since 1970 when a schema wants numbers."""
ROUND = {"amount", "measure", "plain", "limit", "percent", "quantity"}


def number(
    family: str, schema: Mapping[str, JSON], rng: random.Random, unit: str = ""
) -> tuple[str, int | float] | None:
    """(how it is said, value), or None where the schema leaves no number that people would say."""
    whole = schema.get("type") == "integer" or family not in (
        "amount",
        "coordinate",
        "measure",
        "plain",
        "percent",
        "low_number",
        "high_number",
    )
    low, high = _range(family, schema, unit)
    if high < low:
        return None
    if schema.get("type") == "number" and math.floor(high) < math.ceil(low):  # no whole number fits
        part = round(rng.uniform(low, high), 2)
        return str(part), part
    step = schema.get("multipleOf")
    if isinstance(step, int | float) and step > 0:
        value: int | float = step * rng.randint(
            math.ceil(low / step), max(math.floor(high / step), math.ceil(low / step))
        )
    elif family == "coordinate":
        value = round(rng.uniform(low, high), rng.choice((2, 4)))
    elif not whole and rng.random() < 0.25:
        value = round(rng.uniform(low, high), rng.choice((1, 2, 2)))
    else:
        value = rng.randint(math.ceil(low), max(math.floor(high), math.ceil(low)))
        if family in ROUND and value > 30 and rng.random() < 0.6:
            rounded = round(value, -1)
            value = rounded if low <= rounded <= high else value
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return said(value, family, rng), value


def said(value: int | float, family: str, rng: random.Random) -> str:
    """A number as people write it: mostly digits, small counts in words at times."""
    counted = isinstance(value, int) and 0 < value <= 99 and family not in NEVER_IN_WORDS
    if counted and rng.random() < (IN_WORDS if value <= 12 else 0.03):
        return words(int(value))
    if isinstance(value, int) and value >= 1000 and family in ("amount", "measure", "plain") and rng.random() < 0.25:
        return f"{value:,}"
    return str(value)


def words(value: int) -> str:
    """An integer from 0 to 99 in words."""
    if value < 20:
        return UNITS[value]
    tens, ones = divmod(value, 10)
    return TENS[tens - 2] + (f"-{UNITS[ones]}" if ones else "")


def _range(family: str, schema: Mapping[str, JSON], unit: str) -> tuple[float, float]:
    low, high = (
        UNIT_RANGES.get(unit) or RANGES.get(family) or (RANGES["plain"] if family not in TIMES else (1.7e9, 1.83e9))
    )
    if family in ("early_date", "late_date"):
        low, high = (1.7e9, 1.76e9) if family == "early_date" else (1.77e9, 1.83e9)
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    margin = 1.0 if schema.get("type") == "integer" or not _narrow(above, below, least, most) else 0.01
    if isinstance(above, int | float) and not isinstance(above, bool):
        least = max(above + margin, float(least)) if isinstance(least, int | float) else above + margin
    if isinstance(below, int | float) and not isinstance(below, bool):
        most = min(below - margin, float(most)) if isinstance(most, int | float) else below - margin
    if isinstance(least, int | float) and isinstance(most, int | float) and not (least <= low and high <= most):
        # The schema says more than the name does.
        return (max(low, least), min(high, most)) if max(low, least) < min(high, most) else (least, most)
    if isinstance(least, int | float):
        low, high = max(low, least), max(high, least * 3 if least > 0 else high)
    if isinstance(most, int | float):
        low, high = min(low, most), min(high, most)
    return low, high


def _narrow(above: JSON, below: JSON, least: JSON, most: JSON) -> bool:
    """Whether open bounds leave less than a few whole numbers."""
    low, high = above if isinstance(above, int | float) else least, below if isinstance(below, int | float) else most
    return isinstance(low, int | float) and isinstance(high, int | float) and high - low < 4
