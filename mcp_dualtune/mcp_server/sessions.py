"""The clients that shook hands with us, for as long as they stay.

Owns one record per session: its log level, its subscriptions, and answering for it while none of its requests runs.
Refuses to own requests (`conversation`) and what is announced (`announcing`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import mcp.types as mcp_types
from mcp.server import ServerRequestContext
from mcp.server.connection import Connection
from mcp.shared.exceptions import MCPError

from mcp_dualtune.downstream.questions import LEVELS, NO_SUCH_METHOD, Caller, Lane
from mcp_dualtune.errors import ProtocolError
from mcp_dualtune.types import JSON

MODERN = "2026-07-28"
"""First protocol version without a back-channel; versions are dates, so they compare as text."""
ONE_USER = "the one user"
Context = ServerRequestContext[Any, Any]
_PLACE = "mcp_dualtune.session"


def connection_of(ctx: Context) -> Connection:
    """The client's connection, or in the stateless protocol its request: the SDK offers no public way to either."""
    return ctx.session._connection


def loud_enough(level: JSON, least: str | None) -> bool:
    """Whether a message of this level is wanted by somebody who wants `least` and above; None wants all."""
    if least not in LEVELS or level not in LEVELS:
        return True
    return LEVELS.index(level) >= LEVELS.index(least)


class Session:
    """One handshake client between its requests."""

    lane: Lane = "shared"
    modern = False

    def __init__(self, connection: Connection, user: Hashable) -> None:
        self.connection = connection
        self.user = user
        self.level: str | None = None
        self.subscribed: dict[tuple[str, str], str] = {}
        """By server and its own URI: the URI as the client knows it."""

    @classmethod
    def of(cls, ctx: Context) -> Session | None:
        """The session of a request; None in the stateless protocol, which has none."""
        found = connection_of(ctx).state.get(_PLACE)
        return found if isinstance(found, Session) else None

    def settle_in(self) -> None:
        """Let `of` find this session from now on."""
        self.connection.state[_PLACE] = self

    @property
    def standing(self) -> Caller:
        """Itself."""
        return self

    @property
    def capabilities(self) -> Mapping[str, JSON]:
        """What the client declared."""
        declared = self.connection.client_capabilities
        return declared.model_dump(by_alias=True, exclude_none=True) if declared else {}

    async def answer(self, method: str, params: Mapping[str, JSON]) -> JSON:
        """Tell the client's folders; everything else is only asked while one of its requests runs.

        Raises:
            ProtocolError: it is another question, or the client answered with an error.
        """
        if method != "roots/list":
            raise ProtocolError("No request is running that this could belong to.", code=NO_SUCH_METHOD)
        try:
            found = await self.connection.send_request(mcp_types.ListRootsRequest())
        except MCPError as error:
            raise ProtocolError(error.message, code=error.code, data=error.data) from error
        return found.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def tell(self, method: str, params: Mapping[str, JSON]) -> None:
        """Pass a notification on."""
        if loud_enough(params.get("level"), self.level):
            await self.connection.notify(method, dict(params))
