"""Requests for two steps: what the first one gives, the second one needs ("find the order of Ana and cancel it").

Owns which tools follow each other and how the joint request is said.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_dualtune.training.records import Chain, RequestTemplate
from mcp_dualtune.training.synthesis import lexicon
from mcp_dualtune.training.synthesis.outcomes import outcomes, record
from mcp_dualtune.training.synthesis.parameters import Parameter
from mcp_dualtune.training.synthesis.requests import chosen, imperative
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.wordings import Wordings
from mcp_dualtune.types import JSON

PHRASAL = re.compile(r"\b(\w+) (up|out|down|off|away|back) (it|that one)\b")
"""`pull up it` is `pull it up`."""
GIVING = ("read", "create")
"""Kinds of operations whose result names an object."""
LINKED, OPTIONAL, VALUES = 0.75, 0.4, 24
"""Share of chains whose steps need each other; of optional parameters that are kept; values of a place."""


@dataclass(frozen=True)
class Pair:
    """Two tools in a row."""

    first: Subject
    second: Subject
    link: Parameter | None = None
    """The parameter of the second that the first one's result holds; None where they are of no relation."""


def pairs(subjects: Sequence[Subject]) -> list[Pair]:
    """Every tool with those that need what it gives."""
    found: list[Pair] = []
    for first in subjects:
        for second in subjects:
            link = _link(first, second)
            gives = first.meaning.family.kin in GIVING and not first.unsayable
            if first is not second and link is not None and gives and not set(second.unsayable) - {link.name}:
                found.append(Pair(first, second, link))
    return found


def chain(
    server: str, subjects: Sequence[Subject], linked: Sequence[Pair], rng: random.Random, wordings: Wordings
) -> Chain | None:
    """One two-step request, or None where the words do not come together."""
    able = [one for one in subjects if not one.unsayable]
    if linked and rng.random() < LINKED:
        pair = rng.choice(list(linked))
    elif len(able) > 1:
        one, other = rng.sample(able, 2)
        pair = Pair(one, other)
    else:
        return None
    first, second, link = pair.first, pair.second, pair.link
    begun = imperative(first, chosen(first, rng), rng, wordings)
    extra = chosen(second, rng)
    given = [
        one for one in second.parameters
        if one is not link and (one.required or (one in extra and rng.random() < OPTIONAL))
    ]  # fmt: skip
    after = _following(second, given, link, rng, wordings)
    if begun is None or after is None:
        return None
    frames = [frame for frame in lexicon.table("frames")["joined"] if _suits(frame, link)]
    values: dict[str, Sequence[JSON]] = {}
    text, steps = [], []
    for prefix, subject, words, fixed in (("first", first, begun[0], begun[1].arguments), ("second", second, *after)):
        shown, step = _step(prefix, subject, words, fixed, values)
        text.append(shown)
        steps.append({**step, "result": _plain(outcomes(subject, rng, 1)[0])})
    if link is not None:
        steps[1]["args"][link.name] = "{link}"
        steps[0]["result"] = _holding(first, link, rng)
        values["link"] = list(second.values[link.name])[:VALUES]
    asked = wordings.choose(frames, rng).replace("{a}", text[0]).replace("{b}", text[1])
    return Chain(server, asked, values, tuple(steps))


def _suits(frame: str, link: Parameter | None) -> bool:
    """Whether two steps may be joined so: what is needed comes first, and only what is needed is a purpose."""
    return frame.index("{a}") < frame.index("{b}") if link is not None else "so that" not in frame


def _step(
    prefix: str, subject: Subject, words: str, fixed: Mapping[str, JSON], values: dict[str, Sequence[JSON]]
) -> tuple[str, dict[str, Any]]:
    """(the words, the call) of one step, its places renamed so that those of two steps do not meet."""
    arguments = dict(fixed)
    for name in RequestTemplate(words, {}, subject.values).places:
        place = f"{prefix}_{name}"
        words = words.replace("{" + name + "}", "{" + place + "}")
        values[place] = list(subject.values[name])[:VALUES]
        arguments[name] = "{" + place + "}"
    return words, {"tool": subject.tool.name, "args": arguments}


def _holding(first: Subject, link: Parameter, rng: random.Random) -> str:
    """A result of the first step with a place for what the second one needs."""
    if rng.random() < 0.3:
        return f"{first.meaning.noun.capitalize()} {{link}}"
    plain = "id" if link.role.name == "other" else link.spoken.replace(" ", "_")
    return record(first, rng, rng.choice((link.name, plain)), "{link}")


def _following(
    second: Subject, given: list[Parameter], link: Parameter | None, rng: random.Random, wordings: Wordings
) -> tuple[str, Mapping[str, JSON]] | None:
    """(the second clause, with a pronoun for what the first step found; values that its words fix)."""
    if second.meaning.family.name in ("update", "set") and not any(one is not second.own for one in given):
        return None
    if link is None:
        made = imperative(second, given, rng, wordings)
        return (made[0], made[1].arguments) if made else None
    made = imperative(second, [*given, link] if link not in given else given, rng, wordings)
    place = "{" + link.name + "}"
    if made is None or place not in made[0] or link.kind in ("array", "object"):
        return None
    noun = re.escape(link.entity if link.entity not in ("", "object") else second.meaning.noun)
    nouns = "|".join(re.escape(one) for one in second.nouns)
    pronoun = rng.choice(("it", "it", "that one", "the result"))
    led = rf"(?:the )?(?:{nouns}|{noun}) (?:\S+ )?(?:with the \w+ |called |named |number |no\. )?"
    named = rf"(?:{led})?['\"`#]*{re.escape(place)}['\"`]*(?: (?:{nouns}))?"
    text = re.sub(named, f" {pronoun} ", made[0]) if link is second.own else made[0].replace(place, pronoun)
    text = re.sub(r"\s+([,.;:])", r"\1", re.sub(r"\s+", " ", text)).strip()
    return PHRASAL.sub(r"\1 \3 \2", text), made[1].arguments


def _link(first: Subject, second: Subject) -> Parameter | None:
    """The required parameter of `second` that names what `first` is about."""
    for one in second.required:
        same = one.entity and one.entity.rpartition(" ")[2] == first.meaning.noun.rpartition(" ")[2]
        own = one is second.own and second.meaning.noun.rpartition(" ")[2] == first.meaning.noun.rpartition(" ")[2]
        told = any(other.required and other.name == one.name for other in first.parameters)
        if (same or own) and not told and one.kind in ("string", "integer", "number") and second.values.get(one.name):
            return one
    return None


def _plain(text: str) -> str:
    """A result without places: the steps of a chain have other names for them."""
    return re.sub(r" ?\{\w+\}", "", text) if not text.startswith(("{", "[")) else text
