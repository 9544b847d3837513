"""Places and their time zones, as values of requests to clocks."""

from __future__ import annotations

from functools import lru_cache

from mcp_dualtune.pipeline.places import cities, spoken_names

SPOKEN = 3
"""A place named by people is drawn this many times as often as a zone's own name."""


@lru_cache(maxsize=1)
def zone_values() -> tuple[tuple[str, str], ...]:
    """(what is said, IANA zone), frequent ones repeated; the same on every machine with the same tz database."""
    spoken = [(place, zone) for zone, places in spoken_names().items() for place in places]
    for city, zone in cities():
        # A large place is asked for more often than a small one.
        spoken += [(city, zone)] * (2 if zone in spoken_names() else 1)
    named = [(zone, zone) for zone in spoken_names()]
    return tuple(spoken * SPOKEN + named)
