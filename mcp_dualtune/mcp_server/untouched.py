"""Results of downstream servers on their way to the client, exactly as they came.

The SDK checks what a handler returns against its own types, drops what they do not know and copies the rest. Our
handlers return a stand-in that it can check, and this middleware puts the whole result in its place.
Owns that exchange, and what one protocol era must not see of the other. Refuses to own what results mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from mcp.server.context import CallNext, HandlerResult

from mcp_dualtune.mcp_server.results import Wire, own_meta
from mcp_dualtune.mcp_server.sessions import MODERN, Context
from mcp_dualtune.types import JSON

_STAND_INS: Mapping[str, Mapping[str, JSON]] = {
    "tools/call": {"content": []},
    "tools/list": {"tools": []},
    "prompts/get": {"messages": []},
    "prompts/list": {"prompts": []},
    "completion/complete": {"completion": {"values": []}},
    "resources/read": {"contents": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
}
_LASTING = ("tools/list", "prompts/list", "resources/read", "resources/list", "resources/templates/list")
_MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
_waiting: ContextVar[list[Mapping[str, JSON]] | None] = ContextVar("waiting", default=None)


def whole(ctx: Context, result: Mapping[str, JSON]) -> Wire:
    """Hand `result` to the middleware; what this returns is for the SDK to check."""
    waiting = _waiting.get()
    assert waiting is not None, "the server runs without its middleware"
    waiting.append(result)
    lasting = {"ttlMs": 0, "cacheScope": "private"} if ctx.method in _LASTING else {}
    return {**_STAND_INS[ctx.method], "resultType": "complete", **lasting}


async def untouched(ctx: Context, call_next: CallNext) -> HandlerResult:
    """The middleware; it belongs next to the handlers, inside everything that looks at results."""
    if ctx.method not in _STAND_INS:
        return await call_next(ctx)
    waiting: list[Mapping[str, JSON]] = []
    token = _waiting.set(waiting)
    try:
        checked = await call_next(ctx)
    finally:
        _waiting.reset(token)
    if not waiting or not isinstance(checked, dict):
        return checked
    modern = ctx.protocol_version >= MODERN
    return _modern(checked, waiting[0]) if modern else _legacy(waiting[0])


def _modern(checked: Wire, result: Mapping[str, JSON]) -> Wire:
    envelope = {key: checked[key] for key in _MODERN_ONLY if key in checked}
    if result.get("resultType") == "input_required":
        envelope = {}
    meta = {**own_meta(result.get("_meta")), **(checked.get("_meta") or {})}
    return {**envelope, **result, "_meta": meta}


def _legacy(result: Mapping[str, JSON]) -> Wire:
    kept = {key: value for key, value in result.items() if key not in _MODERN_ONLY}
    if not isinstance(kept.get("structuredContent", {}), dict):
        # Only an object may stand here in this era; the content blocks say the same.
        del kept["structuredContent"]
    if "_meta" in kept:
        meta = own_meta(kept.pop("_meta"))
        kept |= {"_meta": meta} if meta else {}
    return kept
