"""The stream on which a server of the stateless protocol tells of changes.

Owns opening it, opening it anew when other resources are wanted or it is lost, and keeping it open. Refuses to own what
is done about a change: the session's message handler gets every event.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import anyio
from mcp import ClientSession
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError

from mcp_dualtune.errors import leaf_error

AGAIN_SECONDS = 1.0
"""Pause before a lost stream is opened again."""

logger = logging.getLogger(__name__)


class Listener:
    """Keeps the stream of one connection open; `wanted` are the resources to hear of, `renew` says they are others."""

    def __init__(self, server: str, wanted: Collection[str]) -> None:
        self._server, self._wanted = server, wanted
        self._renew = anyio.Event()

    def renew(self) -> None:
        """The wanted resources are others now."""
        self._renew.set()

    async def run(self, session: ClientSession, capabilities: Mapping[str, Any]) -> None:
        """Listen until cancelled."""
        lists = {
            f"{kind}_list_changed": declares(capabilities, kind, "listChanged")
            for kind in ("tools", "prompts", "resources")
        }
        while True:
            self._renew = anyio.Event()
            if not self._wanted and not any(lists.values()):
                await self._renew.wait()
                continue
            try:
                await self._follow(session, lists)
            except Exception as error:
                leaf = leaf_error(error)
                if not isinstance(leaf, SubscriptionLost | MCPError | TimeoutError):
                    raise
                logger.debug("%s: no more news: %s", self._server, leaf)
                with anyio.move_on_after(AGAIN_SECONDS if isinstance(leaf, SubscriptionLost) else None):
                    await self._renew.wait()

    async def _follow(self, session: ClientSession, lists: Mapping[str, bool]) -> None:
        async with anyio.create_task_group() as group:

            async def until_renewed() -> None:
                await self._renew.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_renewed)
            async with listen(session, **lists, resource_subscriptions=sorted(self._wanted)) as events:  # type: ignore[arg-type]
                async for _ in events:
                    pass
            raise SubscriptionLost("the server ended it")


def declares(capabilities: Mapping[str, Any], capability: str, part: str) -> bool:
    """Whether a server declared a part of a capability."""
    declared = capabilities.get(capability)
    return isinstance(declared, Mapping) and declared.get(part) is True
