"""What a schema itself says of its values: examples, the meaning of options, patterns.

Owns reading those, and making more of the same shape.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping, Sequence

import rstr

from mcp_dualtune.training.synthesis import lexicon
from mcp_dualtune.training.synthesis.parameters import Parameter

QUOTED = re.compile(r"['\"“`]([^'\"”`]{1,48})['\"”`]")
EXAMPLE = re.compile(r"(?:e\.g\.?|for example|for instance|such as|example:?|like)[,:]?\s*(.{1,120})", re.IGNORECASE)
BARE = re.compile(r"^[\w@./:#+-]{2,40}")
LEVELS = re.compile(
    r"['\"`]?([\w-]{1,24})['\"`]?\s*(?:=|:|->|means|for)\s*([a-z][a-z -]{3,28})(?=[,;.)]|$)", re.IGNORECASE
)


def paraphrases(one: Parameter, value: str) -> list[str]:
    """Other words for an option of a parameter."""
    plain = re.sub(r"[_\-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value)).lower()
    known: Mapping[str, Sequence[str]] = lexicon.table("nouns")["enum_words"]
    found = [plain, plain, *known.get(plain, ())]
    for option, meaning in LEVELS.findall(one.described):
        if option == value:
            found.append(meaning.strip())
    return [text for text in found if text and text != value] if re.search(r"[a-z]", plain) else []


def examples(one: Parameter) -> list[str]:
    """What the schema or the description gives as examples."""
    listed = [*(one.schema.get("examples") or ()), one.schema.get("example")]
    found = [text for text in listed if isinstance(text, str)]
    place = EXAMPLE.search(one.described)
    if place:
        quoted = QUOTED.findall(place[1])
        bare = BARE.match(place[1])
        found += quoted or ([bare[0].rstrip(".,;")] if bare and re.search(r"[\d@/_.-]", bare[0].rstrip(".")) else [])
    return [text for text in found if 0 < len(text) < 80 and "{" not in text and "\n" not in text]


def varied(example: str, rng: random.Random) -> str:
    """An example, or one of the same shape: other digits, and other letters in strings of mixed letters and digits."""
    if rng.random() < 0.25 or not re.search(r"\d", example) or " " in example:
        return example
    mixed = re.compile(r"(?<![A-Za-z])(?=[a-z]*\d)(?=\d*[a-z])[a-z\d]{4,}")

    def letters(found: re.Match[str]) -> str:
        return "".join(rng.choice(string.ascii_lowercase) if c.isalpha() else c for c in found[0])

    return re.sub(r"\d", lambda _: rng.choice(string.digits[1:]), mixed.sub(letters, example))


def matching(pattern: str, rng: random.Random) -> str:
    """The shortest of some strings that match: an open repetition gives long ones."""
    try:
        made = [rstr.Rstr(rng).xeger(pattern) for _ in range(4)]
    except (re.error, ValueError, KeyError, IndexError, NotImplementedError):
        return ""
    return min((text for text in made if text.isprintable()), key=len, default="")
