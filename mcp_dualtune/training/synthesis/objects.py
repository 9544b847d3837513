"""The object of a request as a noun phrase: `the ticket SUP-12`, `a new invoice`, `all our open orders`.

Owns articles, number, and the ways to say which object is meant.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.mentions import shown
from mcp_dualtune.training.synthesis.parameters import Parameter
from mcp_dualtune.training.synthesis.subject import Subject

MANY = ("the", "my", "our", "all", "all the", "", "all our", "all my")
NEW_MANY = ("some ", "new ", "these ", "a few ", "")
LED = ("the ", "at ", "up ", "no ")
"""Beginnings of mentions that take no article."""
KEYS = {"id": "ID", "ids": "IDs", "ID": "ID", "uuid": "UUID"}
SPEAKING = {"person", "customer", "media", "author", "username", "symbol", "company", "location", "address"}
"""Roles whose values say themselves what they are."""


def general(subject: Subject, noun: str, rng: random.Random) -> str:
    """The object where nothing says which one is meant."""
    determiner, mass = subject.meaning.family.determiner, lexicon.is_mass(noun)
    many = subject.meaning.many and not mass
    if determiner == "plain":
        return f"the {noun}" if rng.random() < 0.3 else noun
    if determiner == "new":
        if many:
            return rng.choice(NEW_MANY) + inflection.plural(noun)
        if mass or inflection.is_plural(noun):
            return rng.choice(("some ", "", "the ")) + noun
        one = inflection.with_article(noun)
        return rng.choice((one, one, f"a new {noun}", f"another {noun}"))
    if determiner == "many" and not mass:
        return f"{rng.choice(MANY)} {inflection.plural(noun)}".strip()
    if many:
        return rng.choice(("the ", "my ", "all ", "these ", "our ")) + inflection.plural(noun)
    articles = ("the ", "the ", "the current ") if determiner == "fact" else ("the ", "the ", "the ", "my ", "our ")
    return rng.choice(articles) + noun


def particular(subject: Subject, own: Parameter, noun: str, rng: random.Random) -> str:
    """The object that the parameter `own` names."""
    value = shown(subject, own, rng)
    if own.kind == "array":
        return f"{rng.choice(('the ', ''))}{inflection.plural(noun)} {value}" if rng.random() < 0.75 else value
    if own.kind == "enum":
        return rng.choice((f"the {value} {noun}", f"the {value} {noun}", f"{noun} {value}", f"{value} {noun}"))
    role = own.role.name
    if role in ("path", "folder", "url", "source"):
        return rng.choice((value, value, value, f"the {noun} {value}", f"{noun} {value}"))
    if role == "device":
        return rng.choice((f"the {value}", f"the {value}", value, value, f"the {noun} {value}"))
    if role in SPEAKING:
        return rng.choice((value, value, f"the {noun} {value}", f"{noun} {value}"))
    forms = [f"{noun} {value}", f"the {noun} {value}", f"{noun} {value}"]
    forms += [f"the {noun} with the {_key(own, noun)} {value}"]
    if own.kind in ("integer", "number"):
        forms += [f"{noun} #{value}", f"{noun} number {value}", f"{noun} no. {value}"]
    elif own.words[-1] in ("name", "title", "names", "slug") or role not in ("other", "sku", "from_object"):
        forms += [f"the {value} {noun}", f"the {noun} called {value}", f"the {noun} named {value}", value]
    elif subject.unique:
        forms += [value]
    return rng.choice(forms)


def described(subject: Subject, noun: str, before: Sequence[str], rng: random.Random) -> str:
    """Several objects with words in front: `the first 5 open tickets`."""
    words = " ".join(before)
    counted = any(words == "{" + one.name + "}" and one.kind in ("integer", "number") for one in subject.parameters)
    many = noun if lexicon.is_mass(noun) else inflection.plural(noun)
    lead = "" if counted or words.startswith(LED) else rng.choice(("the ", "all ", "my ", "", "our ", "all the "))
    return f"{lead}{words} {many}".strip()


def _key(own: Parameter, noun: str) -> str:
    """What the value that tells an object is: its ID, number, name."""
    last = own.words[-1]
    return "name" if last == noun.rpartition(" ")[2] else KEYS.get(last, last)
