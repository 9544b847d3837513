"""Unions in JSON schemas: what `anyOf` and `oneOf` allow, which are read alike here."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_dualtune.types import JSON


def options_of(schema: JSON) -> list[Mapping[str, JSON]]:
    """The options of a union but `null`, in order; empty for other schemas."""
    if not isinstance(schema, Mapping):
        return []
    lists = (schema.get(keyword) for keyword in ("anyOf", "oneOf"))
    options = [option for listed in lists if isinstance(listed, list) for option in listed]
    return [option for option in options if isinstance(option, Mapping) and option.get("type") != "null"]
