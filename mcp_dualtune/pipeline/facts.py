"""What a small model cannot know of a request and code can: facts that it may copy from."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_dualtune.pipeline.clock import clock_facts
from mcp_dualtune.pipeline.places import zone_facts
from mcp_dualtune.types import JSON


def spoken_facts(text: str, schema: Mapping[str, JSON]) -> dict[str, str]:
    """Places with their zones and times of day as HH:MM, each only for a tool that takes such values."""
    return {**zone_facts(text, schema), **clock_facts(text, schema)}
