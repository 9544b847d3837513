"""Requests from elsewhere than the schemas: corrections, the user's file, the trace log, models."""

from mcp_dualtune.training.gathering.gather import gather
from mcp_dualtune.training.gathering.gathered import Gathered, Source, Sourced, merged

__all__ = ["Gathered", "Source", "Sourced", "gather", "merged"]
