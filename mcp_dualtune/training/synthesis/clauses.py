"""One sentence's core: a verb or a claim, its object, and the parameters around it.

Owns the order of words. Politeness, contexts and endings are `frames`' work.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mcp_dualtune.training.synthesis import inflection, lexicon, objects
from mcp_dualtune.training.synthesis.mentions import Mention, mention, named, shown, spoken, switch
from mcp_dualtune.training.synthesis.parameters import Parameter
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.wordings import Wordings
from mcp_dualtune.types import JSON

SLOT = re.compile(r"<([a-z_]+)(\.name)?>")
SLOTS = {
    "title": ("title", "project", "media"), "body": ("body", "speech"),
    "text": ("speech", "body", "query", "question", "prompt"),
    "recipient": ("recipient", "person", "email", "username", "customer", "phone"), "query": ("query", "topic"),
    "person": ("person", "username", "recipient", "customer"), "path": ("path", "folder", "target"),
    "code": ("code", "command", "sql", "formula"), "amount": ("amount",), "from": ("from_unit",), "to": ("to_unit",),
    "target": ("target_language", "language"), "channel": ("channel",), "first": ("number_a", "source", "origin"),
    "second": ("number_b", "target", "destination"), "from_object": ("from_object",), "to_object": ("to_object",),
}  # fmt: skip
"""Which roles a place in a pattern stands for; `field` is the first thing that a change changes."""
MANY_MENTIONS = 3
"""A clause carries so many parameters besides its object; more are told in a sentence of their own."""
SIFTING = re.compile(r"(?:scan|filter|pick out|check for|see if|look through|find out which|search \{|explore|query)\b")
"""Ways to search that suit many objects, not one that is named."""
LATER = {"end", "return_day", "destination", "to_unit", "target", "target_language", "number_b", "to_object"}
"""Roles that follow their counterpart: from a day to another."""
BARE = {"title", "query", "topic", "location", "path", "url", "from_unit", "to_unit", "sql", "code", "media", "device",
        "email"}  # fmt: skip
"""Roles whose values speak for themselves in a terse line."""


@dataclass
class Draft:
    """A clause while it is written."""

    subject: Subject
    waiting: list[Parameter]
    """Chosen parameters that are not mentioned yet."""
    arguments: dict[str, JSON] = field(default_factory=dict)
    """Values that the wording itself fixes."""
    open_end: bool = False
    """Whether the text ends with an unquoted long value: nothing may follow it."""

    def take(self, roles: Sequence[str]) -> Parameter | None:
        """The first waiting parameter of one of the roles, no longer waiting."""
        for role in roles:
            for one in self.waiting:
                if one.role.name == role and one.kind != "boolean":
                    self.waiting.remove(one)
                    return one
        return None


def fill(pattern: str, draft: Draft, rng: random.Random, wordings: Wordings, *, may_end: bool = True) -> str | None:
    """A verb pattern or claim with its object and all waiting parameters; None where it does not suit them."""
    for name in dict.fromkeys(match[0] for match in SLOT.findall(pattern)):
        one = _field(draft) if name == "field" else draft.take(SLOTS[name])
        if one is None or (name == "field" and f"<{name}>" not in pattern):
            return None
        final = pattern.endswith((f": <{name}>", f"<{name}>")) and may_end and not draft.waiting
        marked = shown(draft.subject, one, rng, final=final and pattern.endswith(f": <{name}>"))
        draft.open_end |= final and draft.subject.style(one) == "prose" and marked.startswith("{")
        pattern = pattern.replace(f"<{name}.name>", spoken(one, rng)).replace(f"<{name}>", marked)
    if "{title}" in pattern:
        title = draft.take(SLOTS["title"])
        words = mention(draft.subject, title, rng, wordings, may_end=False, before=False).text if title else ""
        pattern = pattern.replace("{title}", f" {words}" if words and not words.startswith(",") else words)
    many = "{os}" in pattern or (draft.subject.meaning.family.determiner == "many" and "{o}" in pattern)
    if "{rest}" not in pattern:
        if pattern[-1] in ".?!" or draft.open_end:
            if draft.waiting:
                return None
            pattern += "{rest}"
        else:
            pattern += "{rest}"
    ends = may_end and pattern.endswith("{rest}")
    noun = wordings.choose(draft.subject.nouns, rng) if rng.random() < 0.6 else draft.subject.nouns[0]
    if re.search(rf"\b{re.escape(noun)}", pattern):  # not `purchase a purchase`
        noun = draft.subject.nouns[0]
    relevant = "{o" in pattern
    obj = _object(draft, noun, rng) if "{o}" in pattern else ""
    before, after = _mentions(draft, rng, wordings, before=many, may_end=ends)
    if obj and before:
        obj = objects.described(draft.subject, noun, before, rng)
    plural = inflection.plural(noun) if not lexicon.is_mass(noun) else noun
    if before and not obj:
        plural = " ".join((*before, plural))
    if before and not relevant:
        return None
    text = pattern.replace("{os}", plural).replace("{on}", noun).replace("{o}", obj)
    return tidy(text.replace("{rest}", after))


def fitting(patterns: Sequence[str], draft: Draft) -> list[str]:
    """The patterns whose places the waiting parameters can fill, those with places several times: they say most."""
    found: list[str] = []
    if draft.subject.meaning.family.name == "search" and draft.subject.own in draft.waiting:
        patterns = [pattern for pattern in patterns if not SIFTING.match(pattern)]
    for pattern in patterns:
        names = [match[0] for match in SLOT.findall(pattern)]
        roles = [set(SLOTS[name]) for name in names if name != "field"]
        if all(any(one.role.name in wanted for one in draft.waiting) for wanted in roles):
            found += [pattern] * (4 if roles else 2 if names else 1)
    if any(len(SLOT.findall(pattern)) > 1 for pattern in found) and draft.subject.meaning.family.name in (
        "convert",
        "translate",
    ):
        return [pattern for pattern in found if "<" in pattern]
    return found


def object_and_rest(draft: Draft, rng: random.Random, wordings: Wordings) -> tuple[str, str]:
    """The object and what is said after it, for sentences with a verb between the two."""
    noun = wordings.choose(draft.subject.nouns, rng)
    obj = _object(draft, noun, rng)
    _, after = _mentions(draft, rng, wordings, before=False, may_end=False)
    return obj, after


def details(draft: Draft, rng: random.Random) -> str:
    """The waiting parameters as a list: `title: ..., priority: high`."""
    parts = []
    for one in draft.waiting:
        if one.kind == "boolean":
            value = rng.random() < 0.6
            draft.arguments[one.name] = value
            parts.append(f"{spoken(one, rng)}: {'yes' if value else 'no'}")
        else:
            parts.append(named(draft.subject, one, rng))
    draft.waiting.clear()
    return rng.choice((", ", ", ", "; ")).join(parts)


def clause_of_description(draft: Draft, rng: random.Random, wordings: Wordings) -> str:
    """The description's own words as a request, with the parameters worked in."""
    subject, meaning = draft.subject, draft.subject.meaning
    text = meaning.clause
    for one in list(draft.waiting):
        if one.kind == "integer" and f"a number of {one.spoken}" in text:
            text = text.replace(f"a number of {one.spoken}", f"{shown(subject, one, rng)} {one.spoken}")
            draft.waiting.remove(one)
            continue
        if one.kind in ("boolean", "array", "object") or subject.style(one) == "prose":
            continue
        noun = meaning.noun if one is subject.own else one.entity or re.sub(r" name$", "", one.spoken)
        place = (
            re.search(
                rf"\b(?:an?|the)(?: (?:specific|single|given|existing|specified|particular))? {re.escape(noun)}\b"
                r"(?! (?:of|\w+s)\b)",
                text,
            )
            if noun
            else None
        )
        if place:
            text = text[: place.start()] + _instead(subject, one, noun, rng) + text[place.end() :]
            draft.waiting.remove(one)
    own = subject.own if subject.own in draft.waiting else None
    if own is not None:
        draft.waiting.remove(own)
        text += f" {rng.choice(('for', '-', 'of', ':'))} {shown(subject, own, rng)}".replace(" :", ":")
    _, after = _mentions(draft, rng, wordings, before=False, may_end=True)
    return tidy(_reworded(text, rng) + after)


def _instead(subject: Subject, one: Parameter, noun: str, rng: random.Random) -> str:
    """What a value is called where the description says `a project`."""
    value = shown(subject, one, rng)
    bare = one.role.name not in ("other", "sku", "namespace", "store", "project", "from_object", "to_object")
    return value if bare else f"{rng.choice(('', 'the '))}{noun} {value}"


def keywords(draft: Draft, rng: random.Random, wordings: Wordings) -> str:
    """Terse: `ticket close INC-42`, `weather Oslo tomorrow`."""
    subject = draft.subject
    noun = wordings.choose(subject.nouns, rng)
    verb = _short(wordings.choose(subject.verbs, rng)) or _short(subject.verbs[0])
    if subject.meaning.family.determiner == "many" and not lexicon.is_mass(noun):
        noun = inflection.plural(noun)
    parts = [verb, noun]
    if rng.random() < 0.3:
        parts.reverse()
    told = subject.meaning.family.kin == "read" and not subject.rivals
    if subject.meaning.family.determiner == "fact" or (told and rng.random() < 0.2):
        parts = [noun]
    for one in draft.waiting:
        if one.kind == "boolean":
            value = rng.random() < 0.6
            draft.arguments[one.name] = value
            parts.append(f"{one.spoken} {'on' if value else 'off'}")
        elif (
            one is subject.own
            or one.spoken == noun
            or (subject.style(one) == "token" and len(draft.waiting) == 1)
            or (one.role.name in BARE and rng.random() < 0.7)
        ):
            parts.append(shown(subject, one, rng))
        else:
            parts.append(f"{spoken(one, rng)} {shown(subject, one, rng)}")
    draft.waiting.clear()
    return tidy(" ".join(part for part in parts if part))


def _short(pattern: str) -> str:
    """The verb of a pattern with its particle, or empty where it takes more words."""
    words = re.split(r" ?[{<]", pattern)[0].split()
    return " ".join(words) if len(words) == 1 or (len(words) == 2 and words[1] in lexicon.words("particles")) else ""


def tidy(text: str) -> str:
    """Spaces and commas as people set them."""
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r" ([,.?!;])", r"\1", text).replace(" :", ":").replace(",,", ",")


def _field(draft: Draft) -> Parameter | None:
    waiting = draft.waiting
    if draft.subject.meaning.family.name == "set":  # the new level rather than where
        waiting = sorted(waiting, key=lambda one: one.kind not in ("integer", "number"))
    for one in waiting:
        if (
            one is not draft.subject.own
            and one.kind not in ("boolean", "object", "array")
            and not (one.entity and one.role.name == "other")
        ):
            draft.waiting.remove(one)
            return one
    return None


def _mentions(
    draft: Draft, rng: random.Random, wordings: Wordings, *, before: bool, may_end: bool
) -> tuple[list[str], str]:
    """(words before the noun, everything after the object) for the waiting parameters."""
    made: list[Mention] = []
    ended = False
    order = list(draft.waiting)
    if rng.random() < 0.35:
        rng.shuffle(order)
    order.sort(key=lambda one: (one.role.name not in ("title", "sku") or one.kind != "string", one.role.name in LATER))
    for one in order:
        if one.kind == "boolean":
            value = rng.random() < 0.6
            draft.arguments[one.name] = value
            made.append(switch(one, value, rng, wordings))
            continue
        free = before and not any(other.place == "before" for other in made)
        new = mention(draft.subject, one, rng, wordings, may_end=may_end and not ended, before=free)
        ended |= new.place == "final"
        made.append(new)
    draft.waiting.clear()
    front = [one.text for one in made if one.place == "before"]
    after = [one.text for one in made if one.place == "after"]
    close = [one.text for one in made if one.place == "close"]
    final = [one.text for one in made if one.place == "final"]
    text = (
        (" " + _chained(after) if after else "")
        + "".join(t if t.startswith(",") else f" {t}" for t in close)
        + "".join(final)
    )
    draft.open_end |= bool(final) and final[0].endswith("}")
    return front, text


def _chained(after: list[str]) -> str:
    """`with a, b and c` for several mentions that begin with `with`."""
    led = [at for at, text in enumerate(after) if text.startswith("with ")]
    if len(led) < 2:
        return " ".join(after)
    others = [text for at, text in enumerate(after) if at not in led]
    inner = [after[at].removeprefix("with ") for at in led]
    return " ".join((*others, "with " + ", ".join(inner[:-1]) + " and " + inner[-1]))


def _object(draft: Draft, noun: str, rng: random.Random) -> str:
    own = draft.subject.own
    if own is None or own not in draft.waiting:
        return objects.general(draft.subject, noun, rng)
    draft.waiting.remove(own)
    return objects.particular(draft.subject, own, noun, rng)


def _reworded(text: str, rng: random.Random) -> str:
    """A description's clause with some of its nouns said otherwise, and some of its small words left out."""
    if rng.random() < 0.4:
        return text
    words = []
    for at, word in enumerate(text.split(" ")):
        if at == 0:  # the verb is what the tool does
            words.append(word)
            continue
        options = lexicon.table("nouns")["synonyms"].get(word)
        alike = [other for other in options or () if (other[0] in "aeiou") == (word[0] in "aeiou")]
        if alike and rng.random() < 0.45:
            word = rng.choice(alike)
        elif (
            word in ("specific", "specified", "given", "detailed", "comprehensive", "existing", "single", "new")
            and rng.random() < 0.5
        ):
            continue
        words.append(word)
    return " ".join(words)
