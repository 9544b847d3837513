"""What a small model cannot know of a request and code can: facts that it may copy from."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_dualtune.pipeline.clock import clock_facts
from mcp_dualtune.pipeline.dates import date_facts
from mcp_dualtune.pipeline.durations import duration_facts
from mcp_dualtune.pipeline.places import zone_facts
from mcp_dualtune.types import JSON


def facts_for(text: str, schema: Mapping[str, JSON], known: Mapping[str, str]) -> dict[str, str]:
    """What is `known` anyway, and of the request's text places with their zones, times of day as HH:MM, dates and
    lengths of time, each only for a tool that takes such.

    Relative dates need `today` among what is known (ISO 8601).
    """
    return {
        **known,
        **zone_facts(text, schema),
        **clock_facts(text, schema),
        **date_facts(text, schema, known.get("today")),
        **duration_facts(text, schema),
    }
