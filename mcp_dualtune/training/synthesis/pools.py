"""Values for one parameter: many pairs of (what is said, the value), all of which fit its schema.

Owns how lists, objects, options and examples become values. Plain strings and numbers come from their makers.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence

from jsonschema import Draft202012Validator

from mcp_dualtune.training.synthesis import lexicon, numbers
from mcp_dualtune.training.synthesis.hints import examples, matching, paraphrases, varied
from mcp_dualtune.training.synthesis.parameters import ID_ENDINGS, Parameter, parameter
from mcp_dualtune.training.synthesis.technical import identifier, iso_date, moment, spoken_date
from mcp_dualtune.training.synthesis.values import FAMILIES
from mcp_dualtune.training.zones import zone_values
from mcp_dualtune.types import JSON, canonical

Pair = tuple[str, JSON]
"""What is said, and the argument."""

DEPTH, TRIES = 5, 8
SPOKEN_DATES = 0.12
"""Share of ISO dates that are said in words; a model must write those."""
EXAMPLES = 0.3
"""Share of values that follow the schema's own examples, where the name says what they are."""
TIMES = ("iso_date", "moment", "time")
"""Families whose digits cannot be exchanged freely."""
ISO = re.compile(r"iso[- ]?8601|yyyy-mm-dd", re.IGNORECASE)
CODE = re.compile(r"two[- ]letter|2[- ]letter|iso[- ]?(?:3166|639)|alpha-2|\bcode\b", re.IGNORECASE)


def pool(one: Parameter, noun: str, rng: random.Random, count: int) -> list[Pair]:
    """At most `count` different values for a parameter of a tool about `noun`; empty where none can be made up."""
    validator = Draft202012Validator(dict(one.schema))
    found: dict[str, Pair] = {}
    wanted = min(count, _size(one))
    for _ in range(wanted * 3 + TRIES):
        pair = draw(one, noun, rng)
        if pair is not None and pair[0].strip() and validator.is_valid(pair[1]):
            found.setdefault(canonical([pair[0], pair[1]]), pair)
        if len(found) >= wanted:
            break
    return list(found.values())


def draw(one: Parameter, noun: str, rng: random.Random, depth: int = 0) -> Pair | None:
    """One value, which may not fit rarer constraints of the schema yet."""
    schema, kind = one.schema, one.kind
    if kind == "enum":
        return _option(one, rng)
    if kind == "boolean":
        value = rng.random() < 0.5
        return ("yes" if value else "no"), value
    if kind in ("integer", "number"):
        return _number(one, rng)
    if kind == "array" and depth < DEPTH:
        return _list(one, noun, rng, depth)
    if kind == "object" and depth < DEPTH:
        return _object(one, noun, rng, depth)
    if kind == "string":
        return _string(one, noun, rng, schema)
    return None


def family_of(one: Parameter, noun: str) -> str:
    """The family of values of a parameter that takes text."""
    form = str(one.schema.get("format") or "")
    if form in ("uuid", "date", "date-time", "time", "email", "ipv4"):
        return {
            "uuid": "uuid",
            "date": "iso_date",
            "date-time": "moment",
            "time": "time",
            "email": "email",
            "ipv4": "host",
        }[form]
    last = one.words[-1].lower() if one.words else ""
    family = one.role.values
    if one.role.name in ("from_object", "to_object"):
        return "id"
    if one.entity and one.role.name in ("other", "sku"):
        if last in ID_ENDINGS or one.name.lower().endswith(("id", "ids")):
            return "id"
        return lexicon.table("words")["names of"].get(one.entity, "project_name" if one.entity != "object" else "id")
    if one.role.name == "device" and one.spoken in ("light", "lamp", "light name"):
        return "light"
    if family == "file_path" and noun.rpartition(" ")[2] in ("directory", "folder", "tree", "repository", "project"):
        return "folder_path"
    if (
        one.role.name == "title"
        and last in ("name", "names")
        and noun.rpartition(" ")[2] in lexicon.table("words")["names of"]
    ):
        return lexicon.table("words")["names of"][noun.rpartition(" ")[2]]
    if one.role.name == "title" and last in ("name", "names"):
        return "label"
    if family in ("country", "language", "other_language") and (CODE.search(one.described) or CODE.search(one.spoken)):
        return "country_code" if family == "country" else "language_code"
    if family in ("city", "other_city") and re.search(r"airport|iata", f"{one.described} {one.spoken}", re.I):
        return "airport"
    if one.role.name == "to_unit":
        family = "other_currency"
    if one.role.name in ("from_unit", "to_unit") and not re.search(
        r"currenc|iso 4217", f"{one.described} {one.spoken}", re.I
    ):
        return "unit"
    if family in ("date", "early_date", "late_date", "future_date") and ISO.search(one.described):
        return "moment" if re.search(r"date-?time|timestamp", one.described, re.I) else "iso_date"
    return family if family in FAMILIES else "short"


def style_of(one: Parameter, noun: str) -> str:
    """`prose` (runs on), `phrase` (several words) or `token`: how a value must be set off from the words around it."""
    if one.kind == "object":
        return "prose" if not one.schema.get("properties") else "phrase"
    target = _item(one) if one.kind == "array" else one
    if target.kind == "object":
        return "phrase"
    if target.kind != "string":
        return "token"
    family = family_of(target, noun)
    return (
        "prose"
        if family in lexicon.words("long values")
        else ("phrase" if family in lexicon.words("several words") else "token")
    )


def unit_of(one: Parameter) -> str:
    """The unit of a duration, from its name or description; empty where none is named."""
    if one.role.name == "radius":
        found = re.search(
            r"\b(met(?:re|er)s|kilomet(?:re|er)s|km|miles|feet)\b", f"{one.spoken} {one.described}", re.IGNORECASE
        )
        return found[1].lower() if found else ""
    if one.role.name not in ("duration", "day_count"):
        return ""
    for text in (one.spoken, one.described):
        for unit in numbers.UNIT_RANGES:
            if re.search(rf"\b{unit[:-1]}s?\b", text, re.IGNORECASE):
                return unit
    return ""


def _size(one: Parameter) -> int:
    if one.kind == "enum":
        options = one.schema.get("enum") or [one.schema.get("const")]
        return 3 * len(options)
    return 2 if one.kind == "boolean" else 10_000


def _option(one: Parameter, rng: random.Random) -> Pair | None:
    options = [
        option for option in one.schema.get("enum") or [one.schema.get("const")] if option is not None and option != ""
    ]
    if not options:
        return None
    value = rng.choice(options)
    if not isinstance(value, str):
        return json.dumps(value), value
    others = paraphrases(one, value)
    return (
        rng.choice(others) if others and rng.random() < (0.75 if re.search(r"_|[a-z][A-Z]", value) else 0.3) else value
    ), value


def _number(one: Parameter, rng: random.Random) -> Pair | None:
    family = (
        "id"
        if one.entity
        or one.role.values == "id"
        or (one.spoken.lower() in ("id", "number") and one.role.name == "other")
        else one.role.values
    )
    if one.role.name == "amount":
        family = (
            "price_low"
            if one.words[0] in ("minimum", "min")
            else "price_high"
            if one.words[0] in ("maximum", "max")
            else family
        )
    if one.role.name == "other" and family == "short":
        family = "plain"
    return numbers.number(family, one.schema, rng, unit_of(one))


def _string(one: Parameter, noun: str, rng: random.Random, schema: Mapping[str, JSON]) -> Pair | None:
    family = family_of(one, noun)
    if family == "timezone":
        shown, zone = rng.choice(zone_values())
        return shown, zone
    pattern = schema.get("pattern")
    known = examples(one)
    for attempt in range(TRIES):
        text = ""
        if (
            known
            and family not in TIMES
            and rng.random() < (EXAMPLES if family not in ("short", "kind", "id") else 0.75)
        ):
            text = varied(rng.choice(known), rng)
        elif family == "id":
            text = identifier(rng, one.entity if one.entity != "object" else noun)
        elif isinstance(pattern, str) and attempt >= TRIES // 2:
            text = matching(pattern, rng)
        elif family in ("iso_date", "moment"):
            half = {"start": 1, "arrival_day": 1, "end": 2, "return_day": 2, "due": 2}.get(one.role.name, 0)
            text = iso_date(rng, half) if family == "iso_date" else moment(rng, half)
        else:
            text = FAMILIES[family](rng)
        if _fits(text, schema):
            if family == "iso_date" and rng.random() < SPOKEN_DATES and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                return spoken_date(text, rng), text
            return text, text
    text = _sized(schema, rng)
    return (text, text) if _fits(text, schema) else None


def _sized(schema: Mapping[str, JSON], rng: random.Random) -> str:
    """Some text of a length that the schema allows."""
    least, most = int(schema.get("minLength") or 1), int(schema.get("maxLength") or 400)
    text = FAMILIES["prose"](rng)
    while len(text) < least:
        text += ". " + FAMILIES["prose"](rng)
    if len(text) <= most:
        return text
    return "".join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(max(least, min(most, 8))))


def _fits(text: str, schema: Mapping[str, JSON]) -> bool:
    pattern, least, most = schema.get("pattern"), schema.get("minLength"), schema.get("maxLength")
    if not text or text != text.strip() or (isinstance(least, int) and len(text) < least):
        return False
    if isinstance(most, int) and len(text) > most:
        return False
    return not isinstance(pattern, str) or re.search(pattern, text) is not None


def _item(one: Parameter) -> Parameter:
    """The items of a list as a parameter of their own."""
    return parameter(one.name, one.schema.get("items") or {"type": "string"}, one.required)


def _list(one: Parameter, noun: str, rng: random.Random, depth: int) -> Pair | None:
    item = _item(one)
    item = Parameter(
        item.name,
        {**item.schema, "description": item.described or one.described},
        True,
        one.words,
        item.role if item.role.name != "other" else one.role,
        one.entity,
    )
    least, most = int(one.schema.get("minItems") or 1), int(one.schema.get("maxItems") or 10)
    size = min(max(rng.choice((1, 2, 2, 3)), least, 1), max(most, 1))
    found: dict[str, Pair] = {}
    for _ in range(size * 4):
        made = draw(item, noun, rng, depth + 1)
        if made is not None:
            found.setdefault(canonical(made[1]), made)
        if len(found) == size:
            break
    if len(found) < least:
        return None
    pairs = list(found.values())
    style = style_of(item, noun)
    shown = [f'"{text}"' if style == "prose" and '"' not in text else text for text, _ in pairs]
    if style == "phrase" and rng.random() < 0.3 and not any('"' in text for text in shown) and item.kind == "string":
        shown = [f'"{text}"' for text in shown]
    return joined(shown, rng, item.kind == "object"), [value for _, value in pairs]


def joined(shown: Sequence[str], rng: random.Random, long: bool = False) -> str:
    """`a, b and c`."""
    if len(shown) == 1:
        return shown[0]
    comma = "; " if long else ", "
    last = rng.choice((" and ", " and ", ", ", " and also " if long else " plus "))
    return comma.join(shown[:-1]) + last + shown[-1]


def _object(one: Parameter, noun: str, rng: random.Random, depth: int) -> Pair | None:
    properties = one.schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        keys = rng.sample(lexicon.table("names")["columns"], rng.randint(1, 2))
        made: dict[str, JSON] = {
            key: rng.choice((rng.choice(lexicon.table("names")["words"]), rng.randint(1, 90))) for key in keys
        }
        return json.dumps(made), made
    needed = set(one.schema.get("required") or ())
    value: dict[str, JSON] = {}
    parts: list[tuple[Parameter, str]] = []
    for inner in _inner(properties, needed):
        if not inner.required and (rng.random() < 0.55 or inner.kind in ("boolean", "object")):
            continue
        pair = draw(inner, noun, rng, depth + 1)
        if pair is None:
            continue
        value[inner.name] = pair[1]
        parts.append((inner, pair[0]))
    if not parts:
        return None
    return _told(parts, noun, rng), value


def _inner(properties: Mapping[str, JSON], needed: set[str]) -> Iterator[Parameter]:
    for name, part in properties.items():
        if "{" not in name:
            yield parameter(name, part, name in needed)


def _told(parts: list[tuple[Parameter, str]], noun: str, rng: random.Random) -> str:
    """An object in words: `3 x oak desk lamp`, `12 Mill Lane, Porto, 40123`, `name Ana, age 31`."""
    count = next((at for at, (one, _) in enumerate(parts) if one.role.name == "quantity"), None)
    if count is not None and len(parts) == 2:
        thing = parts[1 - count][1]
        return rng.choice(("{} x {}", "{} of {}", "{} {}")).format(parts[count][1], thing)
    if all(one.role.name in ("address", "location", "postcode", "country") for one, _ in parts):
        return ", ".join(text for _, text in parts)
    said = []
    for one, text in parts:
        prose = style_of(one, noun) != "token" and one.kind == "string" and '"' not in text
        said.append(f'{one.spoken} "{text}"' if prose else f"{one.spoken} {text}")
    return rng.choice((", ", ", ", " and ")).join(said)
