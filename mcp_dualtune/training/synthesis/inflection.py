"""English word forms that requests need: plurals, -ing forms, participles, articles, and verbs back to their base form.

Owns spelling alone; which word to use is decided elsewhere. Words of other languages pass through.
"""

from __future__ import annotations

import re

IRREGULAR_PLURALS = {
    "person": "people", "child": "children", "man": "men", "woman": "women", "foot": "feet", "mouse": "mice",
    "analysis": "analyses", "index": "indexes", "criterion": "criteria", "medium": "media", "life": "lives",
    "shelf": "shelves", "leaf": "leaves", "half": "halves", "knife": "knives", "series": "series", "news": "news",
    "datum": "data", "schema": "schemas", "staff": "staff", "axis": "axes", "bus": "buses", "status": "statuses",
    "address": "addresses", "movie": "movies", "cookie": "cookies", "alias": "aliases", "bias": "biases",
    "tie": "ties", "calorie": "calories", "wish": "wishes",
}  # fmt: skip
SINGULARS = {plural: singular for singular, plural in IRREGULAR_PLURALS.items()}
DOUBLED = {
    "get", "put", "set", "run", "shut", "let", "drop", "stop", "plan", "tag", "scrap", "bin", "swap", "ship", "log",
    "cut", "wrap", "scan", "map", "pin", "ban", "submit", "dig", "begin", "grab", "stick", "hit", "tap", "zip", "rub",
    "transfer", "refer", "commit", "trim", "unpin", "skip", "fit", "sum", "chat", "spin",
} - {"stick"}  # fmt: skip
PARTICIPLES = {
    "send": "sent", "get": "got", "make": "made", "put": "put", "set": "set", "take": "taken", "give": "given",
    "write": "written", "read": "read", "find": "found", "run": "run", "hide": "hidden", "pay": "paid", "buy": "bought",
    "shut": "shut", "bring": "brought", "show": "shown", "draw": "drawn", "throw": "thrown", "hold": "held",
    "keep": "kept", "begin": "begun", "undo": "undone", "tell": "told", "see": "seen", "cut": "cut", "do": "done",
    "leave": "left", "stick": "stuck", "hit": "hit", "tie": "tied", "say": "said", "let": "let", "hang": "hung",
    "go": "gone", "come": "come", "bind": "bound", "rebuild": "rebuilt", "build": "built", "withdraw": "withdrawn",
}  # fmt: skip
VOWELS = "aeiou"
SILENT = re.compile(r"^(?:hour|honest|honou?r|heir)", re.IGNORECASE)
YOO = re.compile(r"^(?:uni(?!n)|use|user|usage|url|uuid|uri|euro|one\b|u\b|ui\b|ux\b|utility|us\b)", re.IGNORECASE)
LETTERS = re.compile(r"^[AEFHILMNORSX][A-Z0-9]+\b")
"""Abbreviations that begin with a vowel when they are spelt out: an SQL query, an MR."""


def plural(noun: str) -> str:
    """The plural of a noun phrase's last word."""
    head, _, word = noun.rpartition(" ")
    lead = f"{head} " if head else ""
    low = word.lower()
    if low in IRREGULAR_PLURALS:
        return lead + IRREGULAR_PLURALS[low]
    if word.isupper():
        return lead + word + "s"
    if re.search(r"(?:s|x|z|ch|sh)$", low):
        return lead + word + "es"
    if low.endswith("y") and low[-2:-1] not in VOWELS:
        return lead + word[:-1] + "ies"
    return lead + word + "s"


def singular(noun: str) -> str:
    """The singular of a noun phrase's last word; what is no plural stays."""
    head, _, word = noun.rpartition(" ")
    lead = f"{head} " if head else ""
    low = word.lower()
    if low in SINGULARS:
        return lead + SINGULARS[low]
    if low in IRREGULAR_PLURALS or len(low) < 4 or word.isupper() or re.search(r"(?:ss|us|is|ics|news)$", low):
        return noun
    if low.endswith("ies"):
        return lead + word[:-3] + "y"
    if re.search(r"(?:[sxz]|ch|sh)es$", low) and not re.search(r"(?:ases|uses|ases|nses|rses|izes|ices)$", low):
        return lead + word[:-2]
    return lead + word[:-1] if low.endswith("s") else noun


def is_plural(noun: str) -> bool:
    """Whether a noun looks like a plural."""
    return singular(noun) != noun


def with_article(noun: str) -> str:
    """`a ticket`, `an issue`, `an SQL query`, `a user`."""
    vowel = bool(SILENT.match(noun) or LETTERS.match(noun)) or (
        noun[:1].lower() in VOWELS and not YOO.match(noun) and not re.match(r"[B-DG-HJ-KP-QT-WY-Z][A-Z]", noun)
    )
    return ("an " if vowel else "a ") + noun


def gerund(clause: str) -> str:
    """An imperative clause with its verb in the -ing form."""
    verb, _, rest = clause.partition(" ")
    if "-" in verb:
        first, _, tail = verb.partition("-")
        made = f"{_gerund(first)}-{tail}"
    else:
        made = _gerund(verb)
    return f"{made} {rest}" if rest else made


def _gerund(verb: str) -> str:
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    if verb in ("label", "cancel", "travel"):
        return verb + "ling"
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")) and verb != "be":
        return verb[:-1] + "ing"
    return verb + "ing"


def participle(verb: str) -> str:
    """The past participle of a verb in base form."""
    if verb in PARTICIPLES:
        return PARTICIPLES[verb]
    if verb in DOUBLED:
        return verb + verb[-1] + "ed"
    if verb in ("label", "cancel"):
        return verb + "led"
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2:-1] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"


def bases(word: str) -> tuple[str, ...]:
    """What a verb form at the start of a description may be the form of: `Creates` -> create, creat."""
    low = word.lower()
    found = [low]
    if low.endswith("ies"):
        found.append(low[:-3] + "y")
    if low.endswith("es"):
        found += [low[:-1], low[:-2]]
    elif low.endswith("s") and not low.endswith("ss"):
        found.append(low[:-1])
    if low.endswith("ing"):
        found += [low[:-3], low[:-3] + "e", low[:-4]]
    return tuple(found)
