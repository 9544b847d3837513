"""Requests that no tool of the server serves: operations it lacks, other people's business, small talk.

Owns what counts as not served. It is careful: an operation that a tool may cover under another name is left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from mcp_dualtune.training.synthesis import frames, inflection, lexicon
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.values import FAMILIES
from mcp_dualtune.training.synthesis.wordings import Wordings

TALK, FAR = 0.12, 0.35
BROAD = {"query", "command", "script", "code", "request", "api", "sql", "graphql", "prompt", "eval"}
"""Objects of tools that can do nearly anything."""


def refused(subjects: Sequence[Subject], rng: random.Random, wordings: Wordings) -> str | None:
    """A request that none of the tools serves; None where the one drawn might be."""
    known = lexicon.table("strangers")
    roll = rng.random()
    if roll < TALK:
        return wordings.choose(known["talk"], rng)
    if roll < TALK + FAR:
        kind = rng.choice(sorted(known["requests"]))
        text = wordings.choose(known["requests"][kind], rng)
        if _touches(kind, text, subjects):
            return None
        return _asked(_filled(text, "", rng), rng, wordings)
    subject = rng.choice(list(subjects))
    noun = subject.meaning.noun
    if subject.meaning.family.name == "use" or _broad(subjects) or lexicon.is_mass(noun) or not noun.isascii():
        return None
    operation = rng.choice(sorted(known["operations"]))
    about = [other for other in subjects if _related(other, noun)]
    covered = {other.meaning.family.kin for other in about}
    if covered & set(known["covered"][operation]) or operation in covered:
        return None
    text = wordings.choose(known["operations"][operation], rng)
    if {inflection.bases(word)[-1] for word in text.split()} & {
        word for other in subjects for word in other.meaning.words
    }:
        return None
    return _asked(_filled(text, noun, rng), rng, wordings)


def _asked(text: str, rng: random.Random, wordings: Wordings) -> str:
    imperative = not frames.QUESTION.match(text) and not text.startswith(("I ", "where"))
    return frames.framed(text, rng, wordings, imperative=imperative and not text.endswith("?"), open_end=False)


def _filled(text: str, noun: str, rng: random.Random) -> str:
    names = {
        "first": "first_name",
        "city": "city",
        "country": "country",
        "company": "company",
        "language": "language",
        "product": "product",
    }
    for place, family in names.items():
        if "{" + place + "}" in text:
            text = text.replace("{" + place + "}", FAMILIES[family](rng))
    if noun:
        text = (
            text.replace("{a}", inflection.with_article(noun))
            .replace("{s}", noun)
            .replace("{p}", inflection.plural(noun))
        )
    return text


def _touches(kind: str, text: str, subjects: Sequence[Subject]) -> bool:
    """Whether a far request has a word of the server's tools in it."""
    words = {kind} | set(re.findall(r"[a-z]{4,}", text.lower())) - {
        "find",
        "what",
        "when",
        "many",
        "does",
        "this",
    }
    words |= {inflection.singular(word) for word in words}
    ours: set[str] = set()
    for subject in subjects:
        described = re.findall(r"[a-z]{4,}", f"{subject.tool.description} {' '.join(subject.nouns)}".lower())
        ours |= {inflection.singular(word) for word in (*subject.meaning.words, *described)}
        ours |= {subject.meaning.family.name, *subject.meaning.family.words}
    return bool(words & ours)


def _related(other: Subject, noun: str) -> bool:
    heads = {one.rpartition(" ")[2] for one in other.nouns}
    entities = {one.entity.rpartition(" ")[2] for one in other.parameters}
    head = noun.rpartition(" ")[2]
    return head in heads or head in entities or head in {inflection.singular(word) for word in other.meaning.words}


def _broad(subjects: Sequence[Subject]) -> bool:
    return any(
        subject.meaning.family.name in ("run", "use") and BROAD & {*subject.meaning.words, subject.meaning.noun}
        for subject in subjects
    )
