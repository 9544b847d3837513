"""Numbers as people write them: `12`, `1,200`, `-0.5`, `3k`, `twenty-five`, `two thousand and five`."""

from __future__ import annotations

import re

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SMALL = {
    **{word: value for value, word in enumerate(UNITS)},
    **{word: value for value, word in zip(range(20, 100, 10), TENS, strict=True)},
    **{"a": 1, "single": 1, "once": 1, "both": 2, "couple": 2, "twice": 2},
}
LARGE = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 1_000_000}
DIGITS = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_WORDS = "|".join(sorted({*SMALL, *LARGE} - {"a"}, key=len, reverse=True))
NUMBER = re.compile(
    rf"(?<![\w.,:~^@/\\])(?:{DIGITS}(?!\d|[.,:]\d)k?(?:\s(?:{'|'.join(LARGE)})\b)?"
    rf"|\b(?:a\s(?=couple|{'|'.join(LARGE)}))?(?:{_WORDS})(?:(?:\s|-|\sand\s)(?:{_WORDS}))*\b)",
    re.IGNORECASE,
)
"""What may be a number in a text; `number_of` says which."""


def number_of(text: str) -> int | float | None:
    """The number that `text` as a whole stands for, or None."""
    words = re.sub(r"(?<=[a-z])-(?=[a-z])|\band\b", " ", text.strip().lower()).split()
    if not words:
        return None
    total = 0.0
    part: float | None = None
    for word in words:
        if word in LARGE:
            part = (1 if part is None else part) * LARGE[word]
            if LARGE[word] >= LARGE["thousand"]:
                total, part = total + part, None
        elif (value := _plain(word)) is None or (part is not None and not _adds(part, value)):
            return None
        else:
            part = value + (part or 0)
    whole = total + (part or 0)
    return int(whole) if whole == int(whole) and "." not in text else whole


def _plain(word: str) -> float | None:
    """One word or one group of digits."""
    if re.fullmatch(DIGITS + "k?", word):
        return float(word.rstrip("k").replace(",", "")) * (1000 if word.endswith("k") else 1)
    return SMALL.get(word)


def _adds(before: float, value: float) -> bool:
    """Whether `value` may follow `before` in one number: five after twenty, fifty after a hundred."""
    return (before >= 100 and before % 100 == 0 and value < 100) or (
        before % 100 >= 20 and before % 10 == 0 and 0 < value < 10
    )
