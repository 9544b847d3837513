"""The JSON of one connection as the server sent it, under the SDK's own session.

Owns keeping lists and results whole: the SDK drops fields it does not know and refuses a whole list for one bad tool.
Refuses to own: sessions, transports, meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import mcp.types as wire_types
from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from pydantic import ValidationError

from mcp_dualtune.errors import ProtocolError
from mcp_dualtune.types import JSON, ToolResult

_STAMP = "io.modelcontextprotocol/"
"""Metadata of this prefix belongs to one hop of the protocol, not to the result."""
_CAPABILITIES = f"{_STAMP}clientCapabilities"
SPEAKS_FOR = "mcp_dualtune/speaks-for"
"""Metadata that never leaves us: the capabilities of the client for whom one request is made."""
_COMPLETE: dict[str, Any] = {"resultType": "complete"}
_LASTING: dict[str, Any] = {**_COMPLETE, "ttlMs": 0, "cacheScope": "private"}
_STAND_INS: Mapping[str, tuple[Mapping[str, JSON], Mapping[str, JSON]]] = {
    "tools/call": ({"content": []}, _COMPLETE),
    "prompts/get": ({"messages": []}, _COMPLETE),
    "completion/complete": ({"completion": {"values": []}}, _COMPLETE),
    "resources/read": ({"contents": []}, _LASTING),
    "resources/list": ({"resources": []}, _LASTING),
    "resources/templates/list": ({"resourceTemplates": []}, _LASTING),
    "prompts/list": ({"prompts": []}, _LASTING),
}
"""By method: the least that the session accepts in place of a reply, and what the stateless protocol adds to it."""


class Kept(dict[str, Any]):
    """A reply that every version of the protocol accepts, with the real one in `whole`."""

    whole: Mapping[str, JSON]

    def __init__(self, stand_in: Mapping[str, JSON], whole: Mapping[str, JSON]) -> None:
        super().__init__(stand_in)
        self.whole = whole


class Wire(JSONRPCDispatcher[Any]):
    """A dispatcher that says when the other side is gone and keeps results and tool lists as they came."""

    def __init__(self, read_stream: Any, write_stream: Any) -> None:
        super().__init__(read_stream, write_stream)
        self.gone = anyio.Event()
        self.modern = False
        """Set after the handshake: replies of the stateless protocol carry more required fields."""
        self.last_page: Mapping[str, JSON] = {}
        """The latest `tools/list` reply, untouched."""

    @property
    def closed(self) -> bool:
        """Whether the streams have ended; true a moment before `gone` is set."""
        return self._closed or self.gone.is_set()

    async def run(self, *args: Any, **options: Any) -> None:
        """Run until the streams end, then set `gone`."""
        try:
            await super().run(*args, **options)
        finally:
            self.gone.set()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None, **options: Any
    ) -> dict[str, Any]:
        """Send a request; what must stay whole reaches the session as a stand-in that it can accept."""
        raw = await super().send_raw_request(method, _speak_for(params), opts, **options)
        if method in _STAND_INS:
            least, more = _STAND_INS[method]
            return Kept({**least, **(more if self.modern else {})}, raw)
        if method == "tools/list":
            self.last_page = raw
            listed = raw.get("tools")
            accepted = [tool for tool in listed if _acceptable(tool)] if isinstance(listed, list) else []
            cursor = {"nextCursor": raw["nextCursor"]} if isinstance(raw.get("nextCursor"), str) else {}
            return {"tools": accepted, **cursor, **(_LASTING if self.modern else {})}
        return raw


def _speak_for(params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Declare what the client behind this request can do, in place of all that we can carry."""
    meta = (params or {}).get("_meta")
    if params is None or not isinstance(meta, Mapping) or SPEAKS_FOR not in meta:
        return params
    kept = {key: value for key, value in meta.items() if key != SPEAKS_FOR}
    if _CAPABILITIES in kept:
        kept[_CAPABILITIES] = meta[SPEAKS_FOR]
    return {**params, "_meta": kept}


def read_result(server: str, tool: str, raw: Mapping[str, JSON]) -> ToolResult:
    """Make a record of a `tools/call` reply; content blocks stay exactly as they came.

    Raises:
        ProtocolError: it is not a tool result. The tool has run nevertheless, so calling again would run it twice.
    """
    hint = "The call itself was made: repeating it could do its work twice."
    if raw.get("resultType", "complete") not in ("complete", None):
        kind = str(raw["resultType"])[:40]
        raise ProtocolError(f'"{server}" answered "{tool}" with a result of the unknown kind {kind!r}.', hint=hint)
    structured = raw.get("structuredContent")
    content = raw.get("content", [] if structured is not None else None)
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ProtocolError(f'"{server}" answered "{tool}" with something that is not a tool result.', hint=hint)
    meta = raw.get("_meta")
    kept = {key: value for key, value in meta.items() if not key.startswith(_STAMP)} if isinstance(meta, dict) else {}
    return ToolResult(tuple(content), structured, raw.get("isError") is True, kept or None, whole=raw)


def _acceptable(tool: JSON) -> bool:
    try:
        checked = wire_types.Tool.model_validate(tool, by_name=False)
    except ValidationError:
        return False
    return checked.input_schema.get("type") == "object"
