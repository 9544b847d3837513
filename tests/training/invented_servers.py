"""Invented MCP servers of several kinds, as their tool lists come over the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.types import ServerSpec

Schema = dict[str, Any]


def text(about: str = "", **more: Any) -> Schema:
    return {"type": "string", **({"description": about} if about else {}), **more}


def tool(name: str, about: str = "", required: str = "", /, **properties: Schema) -> Schema:
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return {"name": name, "description": about, "inputSchema": schema}


def _read() -> dict[str, list[Schema]]:
    found: dict[str, list[Schema]] = {}
    path = Path(__file__).with_name("invented_servers.jsonl")
    for line in path.read_text(encoding="utf-8").splitlines():
        wire = json.loads(line)
        found.setdefault(wire.pop("server"), []).append(wire)
    return found


LISTS = _read()


def invented(name: str) -> ServerSpec:
    """One of the invented servers."""
    return build_server(name, "", LISTS[name]).spec
