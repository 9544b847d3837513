"""A tool ready to be asked for: its meaning, its parameters with values, and the nouns that people use for its object.

Owns what depends on the other tools of the server: words that would mean one of those are left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.meaning import Meaning, meaning_of
from mcp_dualtune.training.synthesis.parameters import Parameter, own_parameter, parameters_of
from mcp_dualtune.training.synthesis.pools import Pair, pool, style_of
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

NAMED_WHEN_NEW = {
    "path",
    "folder",
    "url",
    "labels",
    "media",
    "device",
    "service",
    "items",
    "medication",
    "symbol",
    "emoji",
}
"""Roles that say what is made or added: `add the tag urgent`."""
VALUES = 48
"""Values that are made up for each parameter."""


@dataclass(frozen=True)
class Subject:
    """One tool as something to ask for."""

    tool: ToolSpec
    meaning: Meaning
    parameters: tuple[Parameter, ...]
    own: Parameter | None
    """The parameter that says which object is meant."""
    nouns: tuple[str, ...]
    """The object in the singular: as the tool calls it, as the description does, and synonyms."""
    verbs: tuple[str, ...]
    claims: tuple[str, ...]
    unique: bool
    """Whether no other tool of the server does the same kind of thing."""
    rivals: bool = False
    """Whether another tool of the server is about the same thing and only looks at it as well."""
    decided: tuple[str, ...] = ()
    """Parameters that the user's config gives to every call."""
    values: Mapping[str, Sequence[JSON]] = field(default_factory=dict)
    """By parameter, in the form of `records.said`."""

    @property
    def required(self) -> tuple[Parameter, ...]:
        """Parameters that must be given."""
        return tuple(one for one in self.parameters if one.required)

    @property
    def unsayable(self) -> tuple[str, ...]:
        """Names of what must be given and no value is known for."""
        known = {one.name for one in self.parameters if self.values.get(one.name) or one.kind == "boolean"}
        needed = self.tool.input_schema.get("required") or ()
        return tuple(name for name in needed if name not in known and name not in self.decided)

    def style(self, one: Parameter) -> str:
        """How the values of a parameter must be set off from the words around them."""
        return style_of(one, self.meaning.noun)


def subjects(server: ServerSpec, rng: random.Random) -> list[Subject]:
    """Every tool of a server as a subject, in the server's order."""
    decided = tuple(server.fixed_arguments)
    read = []
    for tool in server.tools:
        parameters = parameters_of(tool, decided)
        meaning = meaning_of(tool, server, parameters)
        read.append((tool, meaning, parameters))
    nouns = [meaning.noun for _, meaning, _ in read]
    found = []
    for tool, meaning, parameters in read:
        others = [other for _, other, _ in read if other is not meaning]
        own = own_parameter(meaning.noun, parameters)
        if (
            meaning.family.determiner == "new"
            and own is not None
            and not (own.role.name in NAMED_WHEN_NEW or (own.role.name == "other" and own.spoken == meaning.noun))
        ):
            own = None  # what is new has no id yet; its name is a title
        entities = {one.entity for one in parameters if one is not own}
        taken = {noun for noun in nouns if noun != meaning.noun} | entities
        verbs, claims = _wordings(meaning, others)
        found.append(
            Subject(
                tool,
                meaning,
                parameters,
                own,
                _nouns(meaning, others, taken),
                verbs,
                claims,
                all(other.family.kin != meaning.family.kin for other in others),
                any(
                    other.family.kin == meaning.family.kin
                    and other.noun.rpartition(" ")[2] == meaning.noun.rpartition(" ")[2]
                    for other in others
                ),
                decided,
                {
                    one.name: _written(pool(one, meaning.noun, rng, VALUES))
                    for one in parameters
                    if one.kind != "boolean"
                },
            )
        )
    return found


def _written(pairs: Sequence[Pair]) -> list[JSON]:
    return [shown if shown == value else [shown, value] for shown, value in pairs]


def _nouns(meaning: Meaning, others: Sequence[Meaning], taken: set[str]) -> tuple[str, ...]:
    """What the object may be called here; the tool's own word comes first."""
    head = meaning.noun.rpartition(" ")[2]
    rivals = [o for o in others if o.family.kin == meaning.family.kin and o.noun.rpartition(" ")[2] == head]
    found = [meaning.noun, *lexicon.synonyms(meaning.noun)]
    fact = meaning.family.determiner == "fact"
    described = meaning.described if fact else inflection.singular(meaning.described)
    if described and not rivals and not lexicon.is_mass(described):
        found.append(described)
    if not rivals and head != meaning.noun and meaning.family.name not in ("use", "fact", "convert", "calculate"):
        found += [head] if not any(other.noun == head for other in others) else []
    words = {word for noun in taken for word in (noun, noun.rpartition(" ")[2]) if word}
    kept = [noun for at, noun in enumerate(dict.fromkeys(found)) if at == 0 or noun not in words]
    return tuple(kept)


def _wordings(meaning: Meaning, others: Sequence[Meaning]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Verbs and claims of the family that do not say what another tool of this server does to the same object."""
    head = meaning.noun.rpartition(" ")[2]
    rivals = [
        other.family
        for other in others
        if other.family.name != meaning.family.name
        and other.noun.rpartition(" ")[2] == head
        and other.family.determiner == meaning.family.determiner
    ]
    theirs = {word for family in rivals for word in family.words}
    own = [f"{verb} {{o}}" for verb in meaning.verbs if verb not in lexicon.words("not said")]
    fitting = [*own, *(_for_noun(pattern, meaning.noun) for pattern in meaning.family.verbs if pattern not in own)]
    verbs = [p for p in fitting if p and p.split()[0] not in theirs] or [p for p in fitting if p][:1] or ["get {o}"]
    claims = [claim for pattern in meaning.family.claims if (claim := _for_noun(pattern, meaning.noun))]
    return tuple(verbs), tuple(claims)


def _for_noun(pattern: str, noun: str) -> str:
    """A pattern without its mark for certain nouns; empty where it is for others."""
    text, _, only = pattern.partition("|")
    if re.search(rf"(?<!<)\b{re.escape(noun)}s?\b", text):
        return ""  # `place an order for an order`
    if not only:
        return text
    wanted = only.split(",")
    return text if noun in wanted or noun.rpartition(" ")[2] in wanted else ""
