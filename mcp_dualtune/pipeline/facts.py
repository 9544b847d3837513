"""What a small model cannot know of a request and code can: facts that it may copy from."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_dualtune.pipeline.clock import clock_facts
from mcp_dualtune.pipeline.dates import date_facts
from mcp_dualtune.pipeline.durations import duration_facts
from mcp_dualtune.pipeline.places import zone_facts
from mcp_dualtune.types import JSON


def spoken_facts(text: str, schema: Mapping[str, JSON], today: str | None = None) -> dict[str, str]:
    """Places with their zones, times of day as HH:MM, dates and lengths of time, each only for a tool that takes such.

    Relative dates need `today` (ISO 8601).
    """
    return {
        **zone_facts(text, schema),
        **clock_facts(text, schema),
        **date_facts(text, schema, today),
        **duration_facts(text, schema),
    }
