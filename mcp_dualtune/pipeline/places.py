"""Places in a request and their time zones, as facts that a model may copy.

Which zone Mumbai lies in is knowledge, not language, and a small model does not have it. Zones come from the tz
database; names of cities and countries that people say instead stand in places.json. Which place belongs to which
parameter is left to the model. Tools that take no time zone get no such facts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from zoneinfo import available_timezones

from mcp_dualtune.types import JSON

REGIONS = ("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
ZONE = re.compile(r"\btime[ _-]?zones?\b|\biana\b|\btz\b", re.IGNORECASE)
"""How a parameter that takes a zone is called or described."""
LONGEST = 4
"""Words in the longest name."""
SHORT = 3
"""Names this short (LA, UK) only count as they are written, not as any word in small letters."""
PLACES = 4
"""Facts a request gets at most."""


@lru_cache(maxsize=1)
def spoken_names() -> Mapping[str, list[str]]:
    """Zone -> the names people say for it."""
    found: dict[str, list[str]] = json.loads(resources.files(__package__).joinpath("places.json").read_text("utf-8"))
    return found


def cities() -> Iterator[tuple[str, str]]:
    """(city, zone) for every zone of the database that is named after a place, in the order of the zones."""
    for zone in sorted(available_timezones()):
        region, _, rest = zone.partition("/")
        if region in REGIONS and rest:
            yield _city(zone), zone


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, str]:
    """Name (small letters, unless it is short) -> zone; spoken names win over those of the database."""
    found: dict[str, str] = {}
    for city, zone in cities():
        found.setdefault(_key(city), zone)
    for zone, names in spoken_names().items():
        found[_key(_city(zone))] = zone
        found.update((_key(name), zone) for name in names)
    return found


def zone_facts(text: str, schema: Mapping[str, JSON]) -> dict[str, str]:
    """The places that `text` names, with their zones, in order; empty where no parameter of `schema` takes a zone."""
    if not any(_takes_zone(name, part) for name, part in (schema.get("properties") or {}).items()):
        return {}
    words = list(re.finditer(r"[^\W\d_]+(?:[.'-][^\W\d_]+)*", text))
    facts: dict[str, str] = {}
    at = 0
    while at < len(words) and len(facts) < PLACES:
        for count in range(min(LONGEST, len(words) - at), 0, -1):
            name = text[words[at].start() : words[at + count - 1].end()]
            zone = _zones().get(_key(name))
            if zone is not None:
                facts.setdefault(name, zone)
                at += count - 1
                break
        at += 1
    return facts


def _takes_zone(name: str, schema: JSON) -> bool:
    described = schema.get("description") if isinstance(schema, Mapping) else None
    return bool(ZONE.search(name.replace("_", " ")) or (isinstance(described, str) and ZONE.search(described)))


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ")


def _key(name: str) -> str:
    return name if len(name) <= SHORT else name.lower()
