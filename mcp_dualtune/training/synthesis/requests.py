"""Requests for one tool: which parameters they give, and in which style they are said.

Owns the mixture of styles. The words themselves come from clauses, mentions and frames.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from mcp_dualtune.training.records import RequestTemplate
from mcp_dualtune.training.synthesis import frames
from mcp_dualtune.training.synthesis.clauses import (
    MANY_MENTIONS,
    Draft,
    clause_of_description,
    details,
    fill,
    fitting,
    keywords,
    object_and_rest,
)
from mcp_dualtune.training.synthesis.meaning import is_english
from mcp_dualtune.training.synthesis.parameters import Parameter
from mcp_dualtune.training.synthesis.subject import Subject
from mcp_dualtune.training.synthesis.wordings import Wordings

STYLES = (("verb", 0.4), ("claim", 0.27), ("description", 0.13), ("keywords", 0.11), ("passive", 0.09))
OPTIONAL = 0.3
MOST_OPTIONAL = 3
ACTIVE = {"put", "bring", "give", "turn", "take", "drop", "get", "have", "start", "carry", "do", "go"}
"""Verbs that read badly in the passive."""
UNSAID = ("cursor", "token")
"""Optional parameters that hardly anybody speaks of."""


def chosen(subject: Subject, rng: random.Random) -> list[Parameter]:
    """The parameters that a request gives: all required ones, some of the others."""
    optional = [
        one for one in subject.parameters
        if not one.required and (one.kind == "boolean" or subject.values.get(one.name)) and one.role.name not in UNSAID
    ]  # fmt: skip
    share = OPTIONAL if len(optional) < 6 else OPTIONAL * 5 / len(optional)
    extra = [one for one in optional if rng.random() < share]
    if subject.own in optional and subject.own not in extra and rng.random() < 0.6:
        extra.append(subject.own)
    fields = [one for one in optional if one is not subject.own]
    changes = [one for one in (*subject.required, *extra) if one is not subject.own]
    if subject.meaning.family.name in ("update", "set") and fields and not changes:
        extra.append(rng.choice(fields))  # a change needs something that changes
    rng.shuffle(extra)
    kept = extra[:MOST_OPTIONAL]
    return [one for one in subject.parameters if one.required or one in kept]


def request(subject: Subject, rng: random.Random, wordings: Wordings) -> RequestTemplate | None:
    """One request in some style, or None where the style does not suit the chosen parameters."""
    return worded(subject, chosen(subject, rng), rng, wordings)


def worded(
    subject: Subject, parameters: Sequence[Parameter], rng: random.Random, wordings: Wordings
) -> RequestTemplate | None:
    """A request that gives exactly these parameters, or None."""
    draft = Draft(subject, list(parameters))
    styles = [(name, weight) for name, weight in STYLES if _suits(name, subject)]
    style = rng.choices([name for name, _ in styles], [weight for _, weight in styles])[0]
    rest: list[Parameter] = []
    long = len(draft.waiting) > MANY_MENTIONS + 1 or (len(draft.waiting) > 1 and rng.random() < 0.07)
    if long and style not in ("keywords", "passive") and subject.meaning.family.name != "convert":
        keep = [one for one in draft.waiting if one is subject.own] or draft.waiting[:1]
        rest = [one for one in draft.waiting if one not in keep]
        draft.waiting = keep
    text = _styled(style, draft, rng, wordings, plain_end=bool(rest))
    if text is None:
        return None
    if rest:
        draft.waiting = rest
        text = frames.with_details(text, details(draft, rng), rng, wordings)
    return RequestTemplate(text, draft.arguments, subject.values)


def imperative(
    subject: Subject, parameters: Sequence[Parameter], rng: random.Random, wordings: Wordings
) -> tuple[str, Draft] | None:
    """A bare imperative that gives these parameters, for joining with others."""
    draft = Draft(subject, list(parameters))
    text = fill(wordings.choose(fitting(subject.verbs, draft) or ["get {o}"], rng), draft, rng, wordings, may_end=False)
    return (text, draft) if text else None


def _suits(style: str, subject: Subject) -> bool:
    if style == "description":
        return bool(subject.meaning.clause)
    if style == "passive":
        return subject.meaning.family.determiner in ("one", "new") and subject.meaning.family.kin != "read"
    return True


def _styled(style: str, draft: Draft, rng: random.Random, wordings: Wordings, *, plain_end: bool) -> str | None:
    subject = draft.subject
    if style == "description":
        text = clause_of_description(draft, rng, wordings)
        return frames.framed(
            text,
            rng,
            wordings,
            imperative=is_english(subject.meaning.clause),
            open_end=draft.open_end,
            alone=not plain_end,
        )
    if style == "keywords":
        return frames.keyword(keywords(draft, rng, wordings), rng, wordings)
    if style == "passive":
        verbs = [
            pattern.split(" ")[0]
            for pattern in subject.verbs
            if pattern.count(" ") == 1 and pattern.endswith(" {o}") and pattern.split(" ")[0] not in ACTIVE
        ]
        if not verbs:
            return None
        verb = rng.choice(verbs)
        obj, rest = object_and_rest(draft, rng, wordings)
        return frames.passive(verb, obj, rest, rng, wordings)
    options = fitting(subject.verbs if style == "verb" else subject.claims, draft)
    if not options:
        return None
    for _ in range(6):
        trial = Draft(subject, list(draft.waiting))
        filled = fill(wordings.choose(options, rng), trial, rng, wordings, may_end=not plain_end)
        if filled is not None:
            draft.waiting, draft.arguments, draft.open_end = trial.waiting, trial.arguments, trial.open_end
            return frames.framed(
                filled, rng, wordings, imperative=style == "verb", open_end=trial.open_end, alone=not plain_end
            )
    return None
