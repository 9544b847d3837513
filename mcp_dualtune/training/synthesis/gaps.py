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
    one = subject.own if subject.own in required else rng.choice(required)
    if one is None or one.kind in ("array", "object"):
        return None
    place = re.search(rf"['\"`]?#?\{{{re.escape(one.name)}\}}['\"`]?", template.text)
    if place is None:
        return None
    before = template.text[: place.start()]
    noun = one.entity if one.entity not in ("", "object") else one.spoken if one is not subject.own else subject.meaning.noun
    vague = rng.choice(lexicon.table("frames")["vague"])
    led = re.search(rf"(?:the )?\b{re.escape(noun)}\b(?: (?:with the )?[\w.]+){{0,3}} $", before)
    if led:
        before = before[: led.start()]
        vague = f"{rng.choice(('that', 'this', 'the other', 'the same', 'my'))} {noun}"
    elif subject.style(one) != "token":
        return None
    return RequestTemplate(f"{before}{vague}{template.text[place.end():]}", template.arguments, template.values), _names(subject, [one])


def _names(subject: Subject, left_out: list[Parameter]) -> tuple[str, ...]:
    return tuple(one.name for one in subject.parameters if one in left_out)
