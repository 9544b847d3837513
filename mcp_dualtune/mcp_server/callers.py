"""Which client a request came from, for the records.

Owns reading it from the connection. Refuses to own: deciding anything by it, as a client can call itself what it likes.
"""

from __future__ import annotations

from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult

from mcp_dualtune.security.untrusted import clean_text
from mcp_dualtune.tracing.caller import Caller, called_by

LONGEST_CLIENT = 120


async def note_caller(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware: whatever a request leads to is recorded under its door and its client's name."""
    with called_by(Caller(_door(ctx), _client(ctx))):
        return await call_next(ctx)


def _door(ctx: ServerRequestContext[Any, Any]) -> str:
    if ctx.request is None:
        return "stdio"
    return "sse" if "/messages" in str(ctx.request.url.path) else "http"


def _client(ctx: ServerRequestContext[Any, Any]) -> str | None:
    params = ctx.session.client_params
    if params is None:
        return None
    return clean_text(f"{params.client_info.name} {params.client_info.version}", LONGEST_CLIENT)
