"""What a server offers, as it says so itself: its tools, resources, resource templates and prompts.

Owns reading lists to their end, page by page, and keeping every entry as it came. Refuses to own what entries mean.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import mcp.types as wire_types
from mcp import ClientSession
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from mcp_dualtune.downstream.wire import Wire
from mcp_dualtune.errors import ProtocolError
from mcp_dualtune.types import JSON

MAX_PAGES = 200
"""Pages of one list; a server whose list never ends must not hold us for ever."""
PATIENCE = 5.0
"""Seconds for everything but the tools: a server that hangs there is still good for its tools."""
_NO_SUCH_METHOD = -32601
_AS_IT_IS: TypeAdapter[Any] = TypeAdapter(Any)
Entries = tuple[Mapping[str, JSON], ...]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """One kind of list."""

    method: str
    key: str
    """Where the entries stand in a page."""
    capability: str
    """What a server declares that has such a list."""


TOOLS = Kind("tools/list", "tools", "tools")
OTHERS = (
    Kind("resources/list", "resources", "resources"),
    Kind("resources/templates/list", "resourceTemplates", "resources"),
    Kind("prompts/list", "prompts", "prompts"),
)


async def read_tools(server: str, session: ClientSession, wire: Wire) -> Entries:
    """All tools, in wire spelling and untouched, invalid ones included.

    Raises:
        MCPError: the server refuses.
        ProtocolError: it answers with something else.
    """
    entries: list[Mapping[str, JSON]] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        try:
            page = await session.list_tools(params=wire_types.PaginatedRequestParams(cursor=cursor))
        except MCPError as error:
            if error.code != _NO_SUCH_METHOD:
                raise
            break
        listed = wire.last_page.get("tools")
        if not isinstance(listed, list):
            raise ProtocolError(f'"{server}" answers tools/list without a list of tools.')
        entries += listed
        following = page.next_cursor
        if not following or following == cursor:
            break
        cursor = following
    else:
        logger.warning("%s: more than %d pages of tools; the rest is left out", server, MAX_PAGES)
    return tuple(entries)


async def read_others(server: str, session: ClientSession) -> dict[str, Entries]:
    """Resources, templates and prompts by method; a list that cannot be read is empty, and that is logged."""
    capabilities = session.server_capabilities
    offered = capabilities.model_dump(exclude_none=True) if capabilities else {}
    found: dict[str, Entries] = {}
    with anyio.move_on_after(PATIENCE) as scope:
        for kind in OTHERS:
            if kind.capability not in offered:
                continue
            try:
                found[kind.method] = await _read(server, session, kind)
            except (MCPError, ProtocolError, ValidationError, TimeoutError) as error:
                if not (isinstance(error, MCPError) and error.code == _NO_SUCH_METHOD):
                    logger.warning("%s: %s cannot be read: %s", server, kind.method, error)
    if scope.cancelled_caught:
        logger.warning("%s: does not list its resources and prompts within %g s", server, PATIENCE)
    return found


async def _read(server: str, session: ClientSession, kind: Kind) -> Entries:
    entries: list[Mapping[str, JSON]] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        params = {} if cursor is None else {"cursor": cursor}
        request = wire_types.Request[dict[str, Any], str](method=kind.method, params=params)
        page = (await session.send_request(request, _AS_IT_IS)).whole
        listed = page.get(kind.key)
        if not isinstance(listed, list):
            raise ProtocolError(f'"{server}" answers {kind.method} without a list.')
        entries += [entry for entry in listed if isinstance(entry, Mapping)]
        following = page.get("nextCursor")
        if not isinstance(following, str) or not following or following == cursor:
            return tuple(entries)
        cursor = following
    logger.warning("%s: more than %d pages for %s; the rest is left out", server, MAX_PAGES, kind.method)
    return tuple(entries)
