"""What a tool does, in words: a verb family and a noun, from its name and the first words of its description.

Owns reading names and descriptions. It writes no requests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mcp_dualtune.training.augment import words_of
from mcp_dualtune.training.synthesis import inflection, lexicon
from mcp_dualtune.training.synthesis.lexicon import Family
from mcp_dualtune.training.synthesis.parameters import ID_ENDINGS, Parameter, own_parameter
from mcp_dualtune.types import ServerSpec, ToolSpec

LEAD = re.compile(
    r"^(?:This (?:tool|endpoint|operation|service|method|API|action|command|function|call)|Tool to"
    r"|Use this (?:tool )?to|Allows you to|Lets you|Used to|Can be used to)\s+"
)
"""What descriptions begin with before they come to the verb."""
CLAUSE = 110
"""Longest first clause of a description that is said as a request."""


@dataclass(frozen=True)
class Meaning:
    """A tool's operation."""

    family: Family
    noun: str
    """The object in the singular, as it is said; never empty."""
    described: str
    """The object as the description names it, or empty."""
    many: bool
    """Whether the tool takes or gives several objects."""
    clause: str
    """The first clause of the description as an imperative, or empty."""
    words: frozenset[str]
    """The words of the tool's name."""
    verbs: tuple[str, ...] = ()
    """The verbs of the name and the description."""

    @cached_property
    def mass(self) -> bool:
        """Whether the object is not counted."""
        return lexicon.is_mass(self.noun)


def meaning_of(tool: ToolSpec, server: ServerSpec, parameters: Sequence[Parameter]) -> Meaning:
    """Read the meaning of a tool with these parameters."""
    named = own_words(tool, server)
    clause = _clause(tool.description, named[0])
    said, described = _described(clause)
    verb, family, objects = _operation(named, said, clause)
    looks = bool(family) and lexicon.families()[family].kin == "read"  # such verbs say little; the name says what
    if len(named) == 1 and described and (not objects or (objects == named and not looks)):
        objects = described.split()
    if objects and described and all(word in lexicon.words("describing") or word.endswith("ed") for word in objects):
        objects = [*objects, *described.split()]
    if not objects and not described:
        objects = (
            named if named[0] in lexicon.words("noun or verb") or not parameters else list(_first_entity(parameters))
        )
    many = bool(objects) and inflection.is_plural(objects[-1]) and not lexicon.is_mass(objects[-1])
    noun = " ".join(lexicon.abbreviation(word) for word in objects)
    if not noun:
        noun, many = described, inflection.is_plural(described)
    noun = inflection.singular(noun) if many or not lexicon.is_mass(noun) else noun
    if not noun:
        family, noun = (family if family not in ("", "get", "list") else "use"), " ".join(named)
    acts_on_one = own_parameter(noun, parameters) is not None
    if verb and not family:
        return Meaning(
            _unknown(verb, acts_on_one),
            noun,
            described if described != noun else "",
            many,
            clause,
            frozenset(words_of(tool.name)),
        )
    if family in ("", "get") and not acts_on_one:
        family = "list" if many else ("fact" if family or _is_thing(noun, tool.description) else "use")
    if family == "list" and not many and acts_on_one:
        family = "read"
    if family == "order" and noun.rpartition(" ")[2] in ("order", "purchase"):
        family = "create"  # an order is placed, not bought
    if not family:
        family = "get" if acts_on_one else "use"
    return Meaning(
        lexicon.families()[family],
        noun,
        described if described != noun else "",
        many,
        clause,
        frozenset(words_of(tool.name)),
        tuple(
            dict.fromkeys(
                one
                for one in (
                    lexicon.table("words")["split verbs"].get(verb, verb.replace("_", " ")),
                    lexicon.table("words")["split verbs"].get(said, said),
                )
                if one.isascii() and one
            )
        )
        if verb
        else (),
    )


def _unknown(verb: str, acts_on_one: bool) -> Family:
    """A family for a verb that no family lists: it is only known how it is inflected."""
    done = inflection.participle(verb)
    claims = (
        f"{{o}} should be {done}{{rest}}",
        f"I want {{o}} {done}{{rest}}",
        f"{{o}} needs to be {done}{{rest}}",
        f"it's time to {verb} {{o}}{{rest}}",
        f"can {{o}} be {done}{{rest}}?",
        f"I'd like to have {{o}} {done}{{rest}}",
        f"{inflection.gerund(verb)} {{o}}{{rest}}, can you do that?",
    )
    verbs = (f"{verb} {{o}}", f"try to {verb} {{o}}", f"{verb} {{o}} for me")
    return Family(verb, verb, "one" if acts_on_one else "new", (verb,), verbs, claims)


def own_words(tool: ToolSpec, server: ServerSpec) -> list[str]:
    """The words of a tool's name without those that only repeat the server's name."""
    words = words_of(tool.name)
    names = [words_of(other.name) for other in server.tools]
    while len(words) > 1:
        first = words[0]
        common = len(names) >= 3 and sum(name[:1] == [first] for name in names) >= 0.7 * len(names)
        repeated = first in words_of(server.name) and (len(server.tools) == 1 or common or len(words) > 2)
        if not ((common and first not in lexicon.verb_index()) or repeated or first in ("api", "mcp", "tool")):
            break
        words = words[1:]
        names = [name[1:] if name[:1] == [first] else name for name in names]
    return words


def is_english(text: str) -> bool:
    """Whether a description reads as English."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    if not words or sum(word.isascii() for word in words) < 0.9 * len(words):
        return False
    begins = any(base in lexicon.verb_index() for base in inflection.bases(words[0]))
    return len(words) < 4 or begins or any(word in lexicon.words("english") for word in words)


def _operation(named: Sequence[str], said: str, clause: str) -> tuple[str, str, list[str]]:
    """(verb, family or empty, words of the object) of a name, helped by the description's verb."""
    index = lexicon.verb_index()
    spoken = next(
        (
            base
            for base in (*inflection.bases(said.replace(" ", "_")), *inflection.bases(said.partition(" ")[0]))
            if base in index
        ),
        "",
    )
    if len(named) > 1 and f"{named[0]}_{named[1]}" in index:
        both = f"{named[0]}_{named[1]}"
        return both, index[both], _object(named[2:])
    if (
        len(named) == 1
        and named[0] not in index
        and not lexicon.is_mass(named[0])
        and spoken
        and not inflection.is_plural(named[0])
    ):
        return named[0], index[spoken], []
    known = [at for at, word in enumerate(named) if word in index]
    agreed = [at for at in known if spoken and index[named[at]] == index[spoken]]
    clear = [at for at in known if named[at] not in lexicon.words("noun or verb")]
    doubtful = lexicon.words("noun or verb")
    compound = len(named) == 2 and lexicon.is_mass(named[1])  # `order status`
    elsewhere = bool(spoken) and (lexicon.families()[index[spoken]].kin == "read" or named[0] in clause.split()[1:])
    at = None
    if 0 in clear:
        at = 0
    elif agreed:
        at = agreed[0]
    elif clear and clear[-1] == len(named) - 1:
        at = clear[-1]
    elif 0 in known and len(named) > 1:
        at = None if elsewhere or compound else 0
    elif known == [0] and not (spoken and named[0] in doubtful):
        at = 0
    if at is None and said and len(named) > 1 and named[0] in inflection.bases(said):
        return named[0], "", _object(named[1:])
    if at is None:
        return spoken or "", index[spoken] if spoken else "", _object(named)
    words = named[at + 1 :] if at < len(named) - 1 else named[:at]
    return named[at], index[named[at]], _object(words or named[:at])


def _is_thing(noun: str, description: str) -> bool:
    """Whether a name without a verb is a thing to look up, and not a word of which nothing is known."""
    head, nouns = noun.rpartition(" ")[2], lexicon.table("nouns")
    known = any(head in nouns[key] for key in ("synonyms", "mass", "prepositions", "plural_only"))
    return known or (bool(description) and is_english(description))


def _first_entity(parameters: Sequence[Parameter]) -> Sequence[str]:
    """What the first parameter that must be given is, for a name that is a verb alone."""
    first = next((one for one in parameters if one.required), parameters[0])
    words = [word for word in first.words if word.lower() not in (*ID_ENDINGS, "name")]
    return words or first.words


def _object(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if word in lexicon.words("prepositions"):
            if kept:
                break
            continue
        if word not in ("a", "an", "the", "all", "new", "and"):
            kept.append(word)
    return kept[:4]


def _clause(description: str, verb: str) -> str:
    """The first clause of a description as an imperative; empty where it is not English or no verb begins it."""
    if " | " in description[:30]:  # `Product | What the tool does`
        description = description.partition(" | ")[2]
    first = re.split(r"(?<=[a-z)])[.!;:](?:\s|$)|\n|(?:\s[-–—(|]\s?)|\s\(", description.strip())[0].strip()
    first = LEAD.sub("", first)
    first = first.rstrip(".!:;, ").replace("`", "")
    words = first.split()
    if not words or len(first) > CLAUSE or "{" in first:
        return ""
    if not is_english(first):
        return "" if verb in lexicon.verb_index() else first  # in its own language it is a request as it stands
    base = next((one for one in inflection.bases(words[0]) if one in lexicon.verb_index()), None)
    if (
        base is None
        and re.fullmatch(r"[A-Z][a-z]+s", words[0])
        and not words[0].endswith(("ss", "is", "us", "as"))
        and len(words) > 2
    ):
        base = words[0].lower()[: -2 if words[0].endswith("oes") else -1]
    if (
        base is None
        and verb in inflection.bases(words[0])
        and len(words) > 1
        and words[1].lower() in lexicon.words("articles")
    ):
        base = verb
    if base is None:
        return ""
    rest = [word if word.isupper() or any(c.isupper() for c in word[1:]) else word.lower() for word in words[1:2]]
    return " ".join((base, *rest, *words[2:]))


def _described(clause: str) -> tuple[str, str]:
    """(verb, object) of a description's first clause."""
    words = re.findall(r"[A-Za-z][\w'-]*|[,.]", clause)
    if not words or not is_english(clause):
        return "", ""
    if len(words) > 1 and words[1].lower() in ("that", "if", "whether", "how", "what", "when", "where", "who", "which"):
        return words[0], ""
    noun: list[str] = []
    for at, word in enumerate(words[1:]):
        low = word.lower()
        if low in lexicon.words("articles") and not noun:
            continue
        if low == "of" and noun and noun[-1] in lexicon.words("containers of nouns"):
            noun = []
            continue
        if (
            word in ",."
            or low in lexicon.words("prepositions")
            or low in lexicon.words("articles")
            or low in ("and", "that", "which", "if", "when", "based")
        ):
            break
        if low.endswith(("ed", "ing")) and noun and at > 0:
            break
        noun.append(word if word.isupper() else low)
    if noun and len(words) > 2 and words[-1].lower() in lexicon.words("particles"):  # `switch a device off`
        return f"{words[0]} {words[-1].lower()}", " ".join(w for w in noun if w != words[-1].lower()) if len(
            noun
        ) <= 4 else ""
    return words[0], " ".join(noun) if 0 < len(noun) <= 3 else ""
