"""Which tools the client sees: our own three, and, when the config says so, the downstream tools under public names.

Owns the descriptions and schemas of our tools. Refuses to own what they do (`server`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.catalog.naming import PublicNames
from mcp_dualtune.mcp_server.results import Wire, wire_tool
from mcp_dualtune.records import decision_schema, trajectory_schema
from mcp_dualtune.types import ToolSpec

logger = logging.getLogger(__name__)

Exposure = Literal["none", "selected", "all"]
FOUND = 5
"""Tools that `find_tools` lists when nobody says how many."""
FIND_LIMIT = 50
STEP_LIMIT = 50

_REQUEST = {
    "type": "string",
    "minLength": 1,
    "description": "What is wanted, in plain words, with every value that is needed (paths, names, dates).",
}
_SERVERS = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "description": "Names of the servers to choose from; leave out for all.",
}


def own_tools() -> tuple[Wire, ...]:
    """`do`, `plan` and `find_tools` in wire spelling."""
    max_steps = {
        "type": "integer",
        "minimum": 1,
        "maximum": STEP_LIMIT,
        "description": "Most calls to make for this request.",
    }
    limit = {
        "type": "integer",
        "minimum": 1,
        "maximum": FIND_LIMIT,
        "default": FOUND,
        "description": "How many to list.",
    }
    found = {
        "type": "object",
        "properties": {
            "server": {"type": "string"},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "inputSchema": {"type": "object"},
            "score": {"type": "number"},
        },
        "required": ["server", "name", "description", "inputSchema", "score"],
    }
    looking = {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False}
    return (
        {
            "name": "do",
            "title": "Do what a request says",
            "description": "Carries out a plain request: chooses the server and the tool, fills in the arguments, makes"
            " the call or calls, and returns the last result with an explanation of every choice.",
            "inputSchema": _form({"request": _REQUEST, "servers": _SERVERS, "max_steps": max_steps}),
            "outputSchema": trajectory_schema(),
            "annotations": {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        },
        {
            "name": "plan",
            "title": "Say what would be done",
            "description": "Chooses server, tool and arguments for a plain request, and calls nothing.",
            "inputSchema": _form({"request": _REQUEST, "servers": _SERVERS}),
            "outputSchema": decision_schema(),
            "annotations": looking,
        },
        {
            "name": "find_tools",
            "title": "List tools that may help",
            "description": "Lists the tools that fit a query best, with their descriptions and input schemas.",
            "inputSchema": _form({"query": {**_REQUEST, "description": "What the tool should do."}, "limit": limit}),
            "outputSchema": {
                "type": "object",
                "properties": {"tools": {"type": "array", "items": found}},
                "required": ["tools"],
            },
            "annotations": looking,
        },
    )


def _form(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An input schema whose first property is required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [next(iter(properties))],
        "additionalProperties": False,
    }


class Exposed:
    """The downstream tools that clients see and may call by public name.

    `all` shows every tool; `selected` shows those that `find_tools` has returned, so that a large catalog does not
    fill the client's context. Made once for each catalog, because every call looks its tool up here.
    """

    def __init__(
        self, exposure: Exposure, prefixes: Mapping[str, str] | None = None, own: Sequence[Wire] | None = None
    ) -> None:
        self.exposure = exposure
        self._prefixes = prefixes or {}
        self._reserved = tuple(str(tool["name"]) for tool in (own_tools() if own is None else own))
        self._selected: set[tuple[str, str]] = set()
        self._warned: set[tuple[str, str]] = set()
        self._named_for: Catalog | None = None
        self._named: dict[str, ToolSpec] = {}
        self._chosen: dict[str, ToolSpec] | None = None

    def select(self, tools: Iterable[ToolSpec]) -> bool:
        """Note tools that were found; True when that changes what is shown."""
        if self.exposure != "selected":
            return False
        before = len(self._selected)
        self._selected |= {(tool.server, tool.name) for tool in tools}
        self._chosen = None
        return len(self._selected) > before

    def tools(self, catalog: Catalog) -> dict[str, ToolSpec]:
        """What is shown now, by public name, in catalog order."""
        if self.exposure == "none":
            return {}
        if catalog is not self._named_for:
            self._named_for, self._named, self._chosen = catalog, self._by_public_name(catalog), None
        if self.exposure == "all":
            return self._named
        if self._chosen is None:
            chosen = self._selected
            self._chosen = {name: tool for name, tool in self._named.items() if (tool.server, tool.name) in chosen}
        return self._chosen

    def servers(self, catalog: Catalog) -> frozenset[str]:
        """The servers whose resources and prompts are shown: all, or those of the tools that were found."""
        return frozenset(tool.server for tool in self.tools(catalog).values())

    def held(self, name: str, held: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
        """The (server, tool) of those held back that would be shown under this public name."""
        names = PublicNames(held, self._prefixes, self._reserved)
        return next((pair for pair in held if names.join(*pair) == name), None) if self.exposure != "none" else None

    def wire_tools(self, catalog: Catalog) -> list[Wire]:
        """The same as `tools/list` shows it."""
        return [wire_tool(tool, name) for name, tool in self.tools(catalog).items()]

    def _by_public_name(self, catalog: Catalog) -> dict[str, ToolSpec]:
        tools = {(tool.server, tool.name): tool for server in catalog.servers for tool in server.tools}
        names = PublicNames(tools, self._prefixes, self._reserved)
        for server, tool in set(names.clashes) - self._warned:
            self._warned.add((server, tool))
            logger.warning('%s: "%s" keeps its prefix: the shorter name is taken', server, tool)
        return {names.join(*pair): tool for pair, tool in tools.items()}
