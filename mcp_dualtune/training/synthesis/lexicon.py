"""The word knowledge of the synthesiser, read once from `lexicon/`: verb families, roles of parameters, nouns, values.

Owns the files' formats. It holds general English only: nothing here comes from a particular server.

Patterns of `families.jsonl`: {o} the object, {os} its plural, {on} its bare noun, {rest} what is said of the other
parameters, <role> the value of a parameter of that role, <role.name> its name; after a bar the nouns that it is for.
Patterns of `roles.jsonl`: {v} the value, {n} the parameter's name, {p} a preposition, {u} a unit; after a bar what it
needs (`many`, `read`, `change`: see `mentions`). One with a comma or a colon in front closes the clause.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Family:
    """Verbs that mean one kind of operation, and sentences that ask for it without a verb."""

    name: str
    kin: str
    """Operations that a person may not tell apart, such as listing and searching."""
    determiner: str
    """How the object is introduced: `new`, `one`, `many`, `fact` or `plain`."""
    words: tuple[str, ...]
    """How tools call this operation."""
    verbs: tuple[str, ...]
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Role:
    """What a parameter is in a sentence: its values, and the ways to mention them."""

    name: str
    values: str
    names: tuple[str, ...]
    before: tuple[str, ...]
    """Mentions that stand before the object's noun: `open issues`."""
    after: tuple[str, ...]
    """Mentions that stand after it; those with a comma or a colon close the clause."""


def rows(name: str) -> list[dict[str, Any]]:
    """The records of one JSON Lines file of the lexicon."""
    text = resources.files(__package__).joinpath(f"lexicon/{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


@lru_cache(maxsize=8)
def table(name: str) -> Mapping[str, Any]:
    """One JSON file of the lexicon."""
    found: dict[str, Any] = json.loads(resources.files(__package__).joinpath(f"lexicon/{name}.json").read_text("utf-8"))
    return found


@lru_cache(maxsize=32)
def words(kind: str) -> frozenset[str]:
    """One group of words of `words.json`."""
    return frozenset(table("words")[kind])


@lru_cache(maxsize=1)
def families() -> Mapping[str, Family]:
    """All verb families by name."""
    return {
        row["family"]: Family(
            row["family"], row["kin"], row["det"], tuple(row["words"]), tuple(row["verbs"]), tuple(row["claims"])
        )
        for row in rows("families")
    }


@lru_cache(maxsize=1)
def verb_index() -> Mapping[str, str]:
    """Verb -> family; the first family that lists a verb owns it."""
    found: dict[str, str] = {}
    for family in families().values():
        for word in family.words:
            found.setdefault(word, family.name)
    return found


@lru_cache(maxsize=1)
def roles() -> Mapping[str, Role]:
    """All roles by name."""
    return {
        row["role"]: Role(
            row["role"], row["values"], tuple(row["names"]), tuple(row.get("pre") or ()), tuple(row["post"])
        )
        for row in rows("roles")
    }


@lru_cache(maxsize=1)
def role_index() -> Mapping[str, str]:
    """Spoken parameter name -> role."""
    return {name: role.name for role in roles().values() for name in role.names}


def synonyms(noun: str) -> Sequence[str]:
    """Other words for a noun, or for the last word of a noun phrase."""
    known: Mapping[str, Sequence[str]] = table("nouns")["synonyms"]
    if noun in known:
        return known[noun]
    head, _, word = noun.rpartition(" ")
    return [f"{head} {other}" for other in known.get(word, ())] if head else ()


def abbreviation(word: str) -> str:
    """The word that an abbreviation in a name stands for."""
    found: str = table("nouns")["abbreviations"].get(word, word)
    return found


def is_mass(noun: str) -> bool:
    """Whether a noun has no plural and takes no `a`."""
    return noun.rpartition(" ")[2].lower() in _mass()


@lru_cache(maxsize=1)
def _mass() -> frozenset[str]:
    return frozenset(table("nouns")["mass"])
