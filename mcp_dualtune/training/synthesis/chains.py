"""Requests for two steps: what the first one gives, the second one needs ("find the order of Ana and cancel it").

Owns which tools follow each other and how the joint request is said.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

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


def pairs(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject, Parameter | None]]:
    """(first, second, the parameter of the second that the first one's result holds), or None."""
    found: list[tuple[Subject, Subject, Parameter | None]] = []
    for first in subjects:
        for second in subjects:
            if first is second or first.unsayable:
                continue
            link = _link(first, second)
            others = [one for one in second.required if one is not link]
            if (
                link is not None
                and first.meaning.family.kin in GIVING
                and all(second.values.get(one.name) or one.kind == "boolean" for one in others)
            ):
                found.append((first, second, link))
    return found


def chain(
    server: str,
    subjects: Sequence[Subject],
    linked: Sequence[tuple[Subject, Subject, Parameter | None]],
    rng: random.Random,
    wordings: Wordings,
) -> Chain | None:
    """One two-step request, or None where the words do not come together."""
    if linked and rng.random() < 0.75:
        first, second, link = rng.choice(list(linked))
    else:
        able = [one for one in subjects if not one.unsayable]
        if len(able) < 2:
            return None
        (first, second), link = rng.sample(able, 2), None
    begun = imperative(
        first,
        [one for one in chosen(first, rng) if link is None or one.name != link.name or one.required],
        rng,
        wordings,
    )
    given = [
        one
        for one in second.parameters
        if one is not link and (one.required or (one in chosen(second, rng) and rng.random() < 0.4))
    ]
    if begun is None:
        return None
    after = _following(second, given, link, rng, wordings)
    if after is None:
        return None
    frame = wordings.choose(
        [
            f
            for f in lexicon.table("frames")["joined"]
            if (f.index("{a}") < f.index("{b}") and link is not None) or (link is None and "so that" not in f)
        ],
        rng,
    )
    values: dict[str, Sequence[JSON]] = {}
    steps: list[dict[str, JSON]] = []
    texts = []
    for prefix, subject, text, draft_arguments in (
        ("first", first, begun[0], begun[1].arguments),
        ("second", second, after[0], after[1]),
    ):
        places = RequestTemplate(text, {}, subject.values).places
        arguments: dict[str, JSON] = dict(draft_arguments)
        for name in places:
            text = text.replace("{" + name + "}", "{" + f"{prefix}_{name}" + "}")
            values[f"{prefix}_{name}"] = list(subject.values[name])[:24]
            arguments[name] = "{" + f"{prefix}_{name}" + "}"
        texts.append(text)
        steps.append({"tool": subject.tool.name, "args": arguments})
    if link is not None:
        steps[1]["args"][link.name] = "{link}"
        values["link"] = list(second.values[link.name])[:24]
        key = (
            link.name if rng.random() < 0.5 else ("id" if link.role.name == "other" else link.spoken.replace(" ", "_"))
        )
        steps[0]["result"] = (
            record(first, rng, key, "{link}") if rng.random() < 0.7 else f"{first.meaning.noun.capitalize()} {{link}}"
        )
    else:
        steps[0]["result"] = _plain(outcomes(first, rng, 1)[0])
    steps[1]["result"] = _plain(outcomes(second, rng, 1)[0])
    return Chain(server, frame.replace("{a}", texts[0]).replace("{b}", texts[1]), values, tuple(steps))


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
