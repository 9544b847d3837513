"""Made-up values by family: names, titles, sentences, dates, ids, paths, amounts - never the same few.

Owns plain strings and numbers; which family a parameter takes, and whether a value fits its schema, is said elsewhere.
Every maker takes the Random to draw from, so a seed gives the same values everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from mcp_dualtune.training.synthesis import lexicon
from mcp_dualtune.training.synthesis.snippets import SNIPPETS
from mcp_dualtune.training.synthesis.technical import TECHNICAL, digits, shortened

Maker = Callable[[random.Random], str]


def _names(key: str) -> Sequence[str]:
    found: Sequence[str] = lexicon.table("names")[key]
    return found


def _topics(key: str) -> Any:
    return lexicon.table("topics")[key]


def _from_names(key: str) -> Maker:
    return lambda rng: rng.choice(_names(key))


def _from_topics(key: str) -> Maker:
    return lambda rng: str(rng.choice(_topics(key)))


def person(rng: random.Random) -> str:
    """A full name, at times only the first one."""
    first, last = rng.choice(_names("first")), rng.choice(_names("last"))
    return first if rng.random() < 0.25 else f"{first} {last}"


def company(rng: random.Random) -> str:
    """A firm."""
    return rng.choice(_names("companies")) + rng.choice(_names("company_endings"))


def username(rng: random.Random) -> str:
    """A login name."""
    first, last = rng.choice(_names("first")).lower(), rng.choice(_names("last")).lower().replace("'", "")
    return rng.choice(
        (f"{first}.{last}", f"{first[0]}{last}", f"{first}{digits(rng, 2)}", f"{first}_{last}", f"{last}{first[0]}")
    )


def email(rng: random.Random) -> str:
    """A mail address."""
    if rng.random() < 0.15:
        return (
            f"{rng.choice(('info', 'support', 'sales', 'billing', 'hello', 'office'))}@{rng.choice(_names('domains'))}"
        )
    return f"{username(rng)}@{rng.choice(_names('domains'))}"


def title(rng: random.Random) -> str:
    """A heading such as tasks, notes and projects have."""
    words = _topics("titles")
    roll = rng.random()
    if roll < 0.45:
        return f"{rng.choice(words['verbs'])} {rng.choice(words['objects'])}"
    if roll < 0.7:
        return f"{rng.choice(words['adjectives'])} {rng.choice(words['nouns'])}" + rng.choice(
            ("", "", f" {rng.randint(2024, 2027)}")
        )
    if roll < 0.82:
        return f"{rng.choice(words['nouns'])} {rng.choice(_names('cities'))}"
    if roll < 0.92:
        thing = rng.choice(_topics("subjects"))
        return f"{thing[:1].upper()}{thing[1:]} {rng.choice(_topics('predicates'))}"
    return f"{rng.choice(words['nouns'])} with {rng.choice(_names('first'))}"


def label(rng: random.Random) -> str:
    """A short name: a title that is no sentence."""
    for _ in range(8):
        made = title(rng)
        if len(made.split()) <= 3:
            break
    return made


def prose(rng: random.Random) -> str:
    """A sentence or two, as people write in messages and notes."""
    thing = rng.choice(_topics("subjects"))
    made = f"{thing[:1].upper()}{thing[1:]} {rng.choice(_topics('predicates'))}"
    roll = rng.random()
    if roll < 0.35:
        return str(rng.choice(_topics("sentences")))
    if roll < 0.5:
        return f"{made}. {rng.choice(_topics('sentences'))}"
    if roll < 0.65:
        return f"{rng.choice(_names('first'))} says that {thing} {rng.choice(_topics('predicates'))}"
    return made


def query(rng: random.Random) -> str:
    """Words that somebody searches for."""
    roll = rng.random()
    if roll < 0.6:
        return str(rng.choice(_topics("queries")))
    if roll < 0.75:
        return str(rng.choice(_topics("topics")))
    if roll < 0.88:
        return f"{rng.choice(_topics('products')['adjectives'])} {rng.choice(_topics('products')['nouns'])}"
    return rng.choice(_names("words"))


def product(rng: random.Random) -> str:
    """Something that is sold."""
    words = _topics("products")
    roll = rng.random()
    if roll < 0.2:
        return str(rng.choice(_topics("foods")))
    return (
        f"{rng.choice(words['adjectives'])} {rng.choice(words['nouns'])}"
        if roll < 0.85
        else str(rng.choice(words["nouns"]))
    )


def media(rng: random.Random) -> str:
    """The title of a song, film or book."""
    words = _topics("media")
    made = f"{rng.choice(words['adjectives'])} {rng.choice(words['nouns'])}"
    return rng.choice((made, made, f"The {made}", f"{rng.choice(words['nouns'])} of {rng.choice(_names('cities'))}"))


def short(rng: random.Random) -> str:
    """A word or two for a parameter of which nothing is known."""
    roll = rng.random()
    if roll < 0.35:
        return rng.choice(_names("words"))
    if roll < 0.6:
        return str(rng.choice(_topics("tools")))
    if roll < 0.75:
        return f"{rng.choice(_names('words'))} {rng.choice(_topics('titles')['nouns']).lower()}"
    return f"{rng.choice(_names('words'))}-{rng.randint(2, 99)}"


def address(rng: random.Random) -> str:
    """A street address."""
    street = f"{rng.randint(1, 240)} {rng.choice(_names('streets'))}"
    return street if rng.random() < 0.5 else f"{street}, {rng.choice(_names('cities'))}"


def place_name(rng: random.Random) -> str:
    """A building, a room or a restaurant."""
    return str(rng.choice(_topics("places")))


def recipient(rng: random.Random) -> str:
    """Whom something is sent to."""
    return email(rng) if rng.random() < 0.55 else person(rng)


def channel(rng: random.Random) -> str:
    """A chat channel."""
    name = rng.choice((rng.choice(_topics("services")), rng.choice(_topics("tags")), rng.choice(_names("words"))))
    prefix = rng.choice(("", "", "team-", "proj-", "help-", "ops-"))
    return ("#" if rng.random() < 0.35 else "") + prefix + name.replace(" ", "-")


def service(rng: random.Random) -> str:
    """A deployed program."""
    name = rng.choice(_topics("services"))
    return f"{name}-{rng.choice(_topics('service_kinds'))}" if rng.random() < 0.7 else str(name)


def light(rng: random.Random) -> str:
    """A lamp."""
    return str(rng.choice([device for device in _topics("devices") if device.endswith(("light", "lights", "lamp"))]))


def project(rng: random.Random) -> str:
    """A project, board or team."""
    return (
        str(rng.choice(_topics("projects")))
        if rng.random() < 0.6
        else (f"{rng.choice(_topics('titles')['adjectives'])} {rng.choice(_topics('titles')['nouns'])}")
    )


def _half(key: str, part: int) -> Maker:
    """Values of one half of a list, so that two parameters of one kind never get the same one."""
    return lambda rng: rng.choice(_names(key)[part::2])


def _slug(rng: random.Random) -> str:
    return (
        shortened(f"{rng.choice(_topics('services'))}_{rng.choice(_names('words'))}")
        if rng.random() < 0.4
        else (
            rng.choice(_names("tables"))
            if rng.random() < 0.6
            else f"{rng.choice(_names('tables'))}_{rng.choice(_names('words'))}"
        )
    )


FAMILIES: dict[str, Maker] = {
    **TECHNICAL,
    **SNIPPETS,
    "title": title,
    "label": label, "prose": prose, "query": query, "person": person, "company": company, "username": username,
    "email": email, "recipient": recipient, "product": product, "media": media, "short": short, "address": address,
    "place_name": place_name, "chat_channel": channel, "service": service, "project_name": project, "slug": _slug,
    "first_name": _from_names("first"), "last_name": _from_names("last"), "city": _half("cities", 0),
    "other_city": _half("cities", 1), "country": _from_names("countries"), "currency": _half("currencies", 0),
    "other_currency": _half("currencies", 1), "language": _half("languages", 0),
    "other_language": _half("languages", 1), "color": _from_names("colors"), "format": _from_names("formats"),
    "unit": _from_names("units"), "environment": _from_names("environments"), "emoji": _from_names("emojis"),
    "ticker": _from_names("tickers"), "month": _from_names("months"), "airport": _from_names("airports"),
    "country_code": _from_names("country_codes"), "language_code": _from_names("language_codes"),
    "reason": _from_topics("reasons"), "topic": _from_topics("topics"), "depiction": _from_topics("depictions"),
    "question": _from_topics("questions"), "kind": _from_topics("kinds"), "status": _from_topics("statuses"),
    "priority": _from_topics("priorities"), "field": _from_topics("fields"), "tag": _from_topics("tags"),
    "device": _from_topics("devices"), "element": _from_topics("elements"), "food": _from_topics("foods"),
    "room": _from_topics("rooms"), "medication": _from_topics("medications"), "light": light,
}  # fmt: skip
"""Family -> maker of one value."""
