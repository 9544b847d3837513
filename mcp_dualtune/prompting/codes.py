"""Codes for what people name: `German` becomes `de`, `Brazil` `BR`, `Swiss francs` `CHF`, where a tool takes codes.

Which code a name has is knowledge, not language, and a small model does not have it. Which words name what is meant is
left to the model; other words stay as they are. The names are those of the Unicode CLDR in English, the codes
those of ISO 639-1, ISO 3166-1 and ISO 4217.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON

KINDS = {
    "language": re.compile(r"\b(?:lang|languages?|locale)\b", re.IGNORECASE),
    "country": re.compile(r"\bcountr(?:y|ies)\b", re.IGNORECASE),
    "currency": re.compile(r"\bcurrenc(?:y|ies)\b", re.IGNORECASE),
}
"""By kind, how a parameter is called that takes one."""
FORMATS = {form: kind for kind in KINDS for form in (f"{kind}-code", f"{kind}-code".upper())}
"""What stands for `format` in the schema of a slot that takes codes, in small letters or in capitals."""
LETTERS = 3
"""Letters of a code."""
CODED = re.compile(r"\b(?:codes?|ISO.?(?:639|3166|4217)|BCP.?47|(?:two|three|2|3).letter)\b", re.IGNORECASE)
SHOWN = re.compile(r"(?:['\"`(,:/]|\be\.g\.) ?([A-Za-z]{2,3})(?=['\"`),;./]|$)")
"""Codes that a text lists or quotes."""
OTHER = re.compile(
    r"^(?!.*\bBCP).*\b[a-z]{2}[-_][A-Z]{2}\b|\bprogramming\b|\bsource code\b|\bcode snippet\b", re.DOTALL
)
"""Languages with their countries, where a name does not tell which (BCP 47 takes both), and other languages."""


def code_format(name: str, schema: Mapping[str, JSON]) -> str | None:
    """What stands for `format` in the schema of the slot `name`, if its texts say that it takes codes."""
    about, listed = str(schema.get("description") or ""), schema.get("examples")
    kind = _kind(name)
    if kind is None or OTHER.search(about):
        return None
    told = [schema.get("default"), *(listed if isinstance(listed, list) else ())]
    shown = [
        code
        for code in (*told, *SHOWN.findall(about))
        if isinstance(code, str) and code.lower() in _names(kind).values()
    ]
    if not shown and not CODED.search(f"{spaced(name)} {about}"):
        return None
    small = all(code.islower() for code in shown) if shown else kind == "language"
    return f"{kind}-code" if small else f"{kind}-code".upper()


def called(name: str, option: str) -> tuple[str, ...]:
    """What people call an `option` of the slot `name`, where it is a code."""
    kind = _kind(name)
    if kind is None:
        return ()
    return tuple(other for other, code in _names(kind).items() if code == option.lower() and len(other) > LETTERS)


def code_of(text: str, form: str) -> str:
    """The code of what `text` names, in one of the `FORMATS`; `text` itself where it names nothing."""
    code = _names(FORMATS[form]).get(text.strip().lower())
    return text.strip() if code is None else code if form.islower() else code.upper()


def said_code(text: str, form: str) -> str | None:
    """The code of the one language, country or currency that `text` names; None where there are none or several."""
    kind = FORMATS[form]
    found = {_names(kind)[name.lower()] for name in _finder(kind).findall(text)}
    return code_of(next(iter(found)), form) if len(found) == 1 else None


def _kind(name: str) -> str | None:
    return next((kind for kind, said in KINDS.items() if said.search(spaced(name))), None)


@lru_cache(maxsize=len(KINDS))
def _names(kind: str) -> Mapping[str, str]:
    """Name in small letters -> code in small letters."""
    text = resources.files(__package__).joinpath("codes.json").read_text("utf-8")
    found: Mapping[str, list[str]] = json.loads(text)[kind]
    return {name: code.lower() for code, names in found.items() for name in (code.lower(), *names)}


@lru_cache(maxsize=len(KINDS))
def _finder(kind: str) -> re.Pattern[str]:
    """Finds names; codes are too often words (`it`, `is`), and so are names as short."""
    names = sorted((name for name in _names(kind) if len(name) > LETTERS), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)
