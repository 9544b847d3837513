"""How a request mentions a parameter: `titled {title}`, `the first {limit}`, `for {minutes} minutes`, `without drafts`.

Owns the words around a value and the marks that set it off. Where a mention stands in the sentence is `clauses`' work.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from mcp_dualtune.training.records import said
from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.parameters import ID_ENDINGS, Parameter
from mcp_dualtune.training.synthesis.pools import unit_of
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.wordings import Wordings

ENTITY = ("{p} {n} {v}", "{p} the {n} {v}", "{p} {n} {v}", "{p} the {n} with the ID {v}|id", "{p} {n} ID {v}|id",
          "{p} {v}|token", "{p} the {v} {n}|thing", "{p} {n} #{v}|number", "{p} {n} number {v}|number", ", {n} {v}",
          ", {n} ID {v}|id", "({n} {v})")  # fmt: skip
"""Mentions of an object by its id or name."""
LEAD = ("is", "should", "use", "enable", "allow", "do", "can", "want", "be", "only")
QUOTE_PHRASE, QUOTE_TOKEN = 0.45, 0.06


@dataclass(frozen=True)
class Mention:
    """Words about one parameter."""

    text: str
    place: str
    """`before` or `after` the object's noun, `close` (behind a comma) or `final` (ends the request unquoted)."""


def shown(subject: Subject, one: Parameter, rng: random.Random, *, final: bool = False) -> str:
    """The place of a parameter, in quotes where a reader needs them; `final` values end the request."""
    place = "{" + one.name + "}"
    if one.kind in ("enum", "integer", "number", "boolean", "array", "object"):
        # Items carry their own marks; JSON has quotes of its own.
        return f"`{place}`" if one.kind == "object" and not one.schema.get("properties") and not final else place
    style = subject.style(one)
    texts = [said(value)[0] for value in subject.values.get(one.name) or ()]
    double = not any('"' in text for text in texts)
    single = not any("'" in text for text in texts)
    marks = ['"{}"'] * 4 * double + ["'{}'"] * single + ["`{}`"] * (style != "phrase") * (2 if style == "prose" else 1)
    if not marks:
        return place
    if style == "prose":
        return place if final and rng.random() < 0.6 else rng.choice(marks).format(place)
    return (
        rng.choice(marks).format(place)
        if rng.random() < (QUOTE_PHRASE if style == "phrase" else QUOTE_TOKEN)
        else place
    )


def mention(
    subject: Subject, one: Parameter, rng: random.Random, wordings: Wordings, *, may_end: bool, before: bool
) -> Mention:
    """One way to mention `one`; `may_end` allows an unquoted ending, `before` a mention before the noun."""
    if before and one.role.before and one.kind in ("enum", "integer", "number", "string") and rng.random() < 0.45:
        pattern = wordings.choose(one.role.before, rng)
        return Mention(_filled(subject, one, pattern, rng), "before")
    pattern = wordings.choose(_patterns(subject, one, may_end), rng)
    if pattern.startswith(":"):
        return Mention(": " + shown(subject, one, rng, final=True), "final")
    if pattern == "{v}" and subject.style(one) == "phrase":
        return Mention(f'"{{{one.name}}}"', "after")  # a bare title would run into the words before it
    place = "close" if pattern.startswith((",", "-", "(")) else "after"
    return Mention(_filled(subject, one, pattern, rng), place)


def switch(one: Parameter, value: bool, rng: random.Random, wordings: Wordings) -> Mention:
    """A boolean in words, from its name: `include_hidden` -> `including hidden ones`."""
    words = [word for word in one.words if word not in LEAD] or list(one.words)
    kind, rest = "thing", " ".join(words)
    if words[0] in lexicon.words("switch includes") and len(words) > 1:
        kind, rest = "include", " ".join(words[1:])
        if words[-1] in lexicon.words("switch adjectives") or words[-1].endswith("ed"):
            rest += " ones"
    elif words[0] in lexicon.words("switch verbs"):
        kind = "verb"
        if len(words) > 1 and words[0] in lexicon.words("switch verbs with the"):
            rest = f"{words[0]} the {' '.join(words[1:])}"
        elif len(words) == 1:
            rest = f"{words[0]} it"
    elif rest in lexicon.words("switch adjectives") or one.words[0] == "is":
        kind = "adjective"
    pattern = wordings.choose(
        (lexicon.table("words")["switches on"] if value else lexicon.table("words")["switches off"])[kind], rng
    )
    text = pattern.replace("{x}", rest).replace("{g}", inflection.gerund(rest))
    return Mention(text, "close" if text.startswith(",") else "after")


def named(subject: Subject, one: Parameter, rng: random.Random) -> str:
    """A parameter with its name, for lists of details: `title: {title}`."""
    joint = rng.choice((": ", ": ", " ", " = ", " is "))
    return f"{spoken(one, rng)}{joint}{shown(subject, one, rng)}"


def spoken(one: Parameter, rng: random.Random) -> str:
    """How a parameter is called: its name in words, or another word for it."""
    name = one.spoken
    others = lexicon.table("nouns")["spoken"].get(name.lower())
    if others and rng.random() < 0.35:
        return str(rng.choice(others))
    return name


def _patterns(subject: Subject, one: Parameter, may_end: bool) -> list[str]:
    if one.entity and one.role.name in ("other", "sku") and (one.entity != "object" or subject.own is one):
        last = one.words[-1].lower()
        by_id = last in ID_ENDINGS or one.name.lower().endswith("id")
        traits = {"id" if by_id else "name", *(("number", "token") if one.kind == "integer" else ())}
        if not by_id or subject.style(one) == "token":
            traits.add("token")
        if not by_id and lexicon.table("words")["names of"].get(one.entity) not in ("person", "username"):
            traits.add("thing")
        if one.kind == "array":
            traits &= {"name"}
        found = [
            p
            for pattern in ENTITY
            if (p := _trait(pattern, traits)) and not (one.entity == "object" and "{n}" not in p)
        ]
        return found
    traits = _traits(subject, one)
    if subject.style(one) == "token":
        traits.add("token")
    shared = any(other.role is one.role for other in subject.parameters if other is not one)
    role = lexicon.roles()["other"] if shared else one.role
    patterns = [p for pattern in role.after if (p := _trait(pattern, traits))]
    if one.role.name == "title" and one.words[-1] == "name":
        patterns = [p for p in patterns if "titled" not in p]
    if subject.style(one) != "phrase":
        patterns = [p for p in patterns if p != "{v}"] or ["with {n} {v}"]
    runs_on = subject.style(one) == "prose"
    if one.kind == "object":
        patterns = [p for p in patterns if "{n}" in p or p.startswith((":", "with", "to", "at"))] or [
            "with the {n} {v}"
        ]
    if not may_end:
        patterns = [p for p in patterns if not p.startswith(":")] or ["with the {n} {v}", ", {n} {v}"]
    elif runs_on and one.kind == "string":
        patterns += [": {v}", ": {v}"]
    return patterns


def _traits(subject: Subject, one: Parameter) -> set[str]:
    """What patterns with a condition ask for."""
    family, determiner = subject.meaning.family, subject.meaning.family.determiner
    found = {determiner}
    if inflection.is_plural(one.spoken):
        found.add("plural")
    if family.kin == "read":
        found.add("read")
    if family.name == "deploy":
        found.add("deploy")
    if family.name in ("update", "set"):
        found.add("change")
    if unit_of(one):
        found |= {"unit", "newunit"} if determiner == "new" else {"unit"}
    return found


def _trait(pattern: str, traits: set[str]) -> str:
    text, _, only = pattern.partition("|")
    return text if not only or only in traits else ""


def _filled(subject: Subject, one: Parameter, pattern: str, rng: random.Random) -> str:
    name = spoken(one, rng)
    unit = unit_of(one)
    if unit and one.role.name != "radius":
        name = re.sub(rf"\s?\b{unit[:-1]}s?\b|\(.*\)", "", name).strip() or "duration"
    if one.entity and one.role.name in ("other", "sku"):
        name = one.entity if one.entity != "object" else subject.meaning.noun
        if one.kind == "array":
            name = inflection.plural(name)
    if " " in name:
        name = re.sub(r" names?$", "", name)
    preposition = _preposition(subject, one)
    text = pattern.replace("{n}", name).replace("{p}", preposition).replace("{u}", unit)
    text = re.sub(r"\ba ((?!\{)\w+)", lambda found: inflection.with_article(found[1]), text)
    if "{v}" in text:
        text = text.replace("{v}", shown(subject, one, rng))
    return re.sub(r"\s+", " ", text).strip()


def _preposition(subject: Subject, one: Parameter) -> str:
    nouns = lexicon.table("nouns")
    family = subject.meaning.family.name
    if family in nouns["family_prepositions"] and subject.own is not one:
        return str(nouns["family_prepositions"][family])
    kind = one.entity.rpartition(" ")[2]
    return str(nouns["prepositions"].get(one.entity) or nouns["prepositions"].get(kind) or "for")
