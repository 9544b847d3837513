"""Requests that leave out what the tool needs: it is not said at all, or only hinted at ("that one").

Owns what a gap looks like; the gateway answers such requests with a question.
"""

from __future__ import annotations

import random
import re

from mcp_dualtune.training.records import RequestTemplate
from mcp_dualtune.training.synthesis import lexicon
from mcp_dualtune.training.synthesis.parameters import Parameter
from mcp_dualtune.training.synthesis.requests import chosen, worded
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.wordings import Wordings

Gap = tuple[RequestTemplate, tuple[str, ...]]
HINTED = 0.3


def gap(subject: Subject, rng: random.Random, wordings: Wordings) -> Gap | None:
    """One request without some required values, with the names of those; None where none suits."""
    required = [one for one in subject.required if one.kind != "boolean"]
    if not required:
        return None
    if rng.random() < HINTED:
        return _hinted(subject, required, rng, wordings)
    count = 1 if len(required) == 1 or rng.random() < 0.6 else rng.randint(1, len(required))
    left_out = rng.sample(required, count)
    given = [one for one in chosen(subject, rng) if one not in left_out]
    template = worded(subject, given, rng, wordings)
    if template is None:
        return None
    return template, _names(subject, left_out)


def _hinted(subject: Subject, required: list[Parameter], rng: random.Random, wordings: Wordings) -> Gap | None:
    """A request whose value is replaced by a vague word."""
    template = worded(subject, required, rng, wordings)
    if template is None:
        return None
    one = subject.own
    if one is None or one not in required or one.kind in ("array", "object"):
        return None
    place = re.search(rf"['\"`]?#?\{{{re.escape(one.name)}\}}['\"`]?(?: (?P<noun>[a-z]+))?", template.text)
    if place is None:
        return None
    before, end = template.text[: place.start()], place.end()
    nouns = "|".join(
        re.escape(noun) for noun in sorted({*subject.nouns, one.entity or one.spoken}, key=len, reverse=True)
    )
    led = re.search(rf"(?:the |my |our )?\b(?P<noun>{nouns})\b(?: (?:with the )?[\w.]+){{0,3}} $", before)
    vague = rng.choice(lexicon.table("frames")["vague"])
    if led:
        before, end = before[: led.start()], place.end() if not place["noun"] else place.start("noun") - 1
        vague = f"{rng.choice(('that', 'this', 'the other', 'the same', 'my'))} {led['noun']}"
    elif place["noun"]:
        before, end = re.sub(r"the $", "", before), place.start("noun") - 1
        if place["noun"] in subject.nouns:
            vague, end = f"{rng.choice(('that', 'this', 'the other', 'the same', 'my'))} {place['noun']}", place.end()
    return RequestTemplate(f"{before}{vague}{template.text[end:]}", template.arguments, template.values), _names(
        subject, [one]
    )


def _names(subject: Subject, left_out: list[Parameter]) -> tuple[str, ...]:
    return tuple(one.name for one in subject.parameters if one in left_out)
