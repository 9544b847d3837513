"""One connection to one server: handshake, tool list, calls, end.

Owns a single run of the connection, held open by one owner task, and turning every failure into one of our errors.
Refuses to own: starting again (`pool`), choosing tools, changing results.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import anyio
import httpx2
import mcp.types as wire_types
from mcp import ClientSession
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from mcp_dualtune.config import ServerConfig, mask_error
from mcp_dualtune.downstream.transports import Link, make_link
from mcp_dualtune.downstream.wire import Kept, Wire, read_result
from mcp_dualtune.errors import DownstreamError, ProtocolError, ServerTimeout, ServerUnavailable
from mcp_dualtune.types import JSON, ToolResult

Progress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Called with progress, total and message while a call runs."""

MAX_PAGES = 200
"""Pages of one tool list; a server whose list never ends must not hold us for ever."""
REFRESH_SECONDS = 30.0
TIMEOUT_GRACE = 5.0
"""Seconds beyond a call's limit for the SDK to cancel it at the server and report."""
LAST_WORDS_SECONDS = 1.0
MODERN = "2026-07-28"
_CLOSED, _TIMED_OUT, _WRONG_VERSION, _INVALID_REQUEST, _NO_SUCH_METHOD = -32000, -32001, -32022, -32600, -32601
_AS_IT_IS: TypeAdapter[Any] = TypeAdapter(Any)

logger = logging.getLogger(__name__)


class Connection:
    """One run of a connection: `run` in a task of its own, everything else from any task of the same loop."""

    def __init__(self, config: ServerConfig, on_tools_changed: Callable[[], None] | None = None) -> None:
        self.config = config
        self.tools: tuple[Mapping[str, JSON], ...] = ()
        """The tools in wire spelling, untouched, invalid ones included."""
        self.instructions: str | None = None
        self.protocol: str | None = None
        """Negotiated protocol version."""
        self.ready, self.ended = anyio.Event(), anyio.Event()
        self._on_tools_changed = on_tools_changed
        self._link: Link = make_link(config)
        self._session: ClientSession | None = None
        self._wire: Wire | None = None
        self._list_changed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._stopping = False
        self._failure: DownstreamError | None = None

    @property
    def pid(self) -> int | None:
        """Process id of a server that we started, while it runs."""
        return self._link.pid

    def stop(self) -> None:
        """Make `run` close the connection and return."""
        self._stopping = True
        self._scope.cancel()

    async def run(self) -> None:
        """Open the connection and hold it until `stop`.

        Raises:
            ServerUnavailable: it could not be opened, or the server ended it.
            ServerTimeout: it was not ready within the server's `start_timeout`.
            ProtocolError: the server does not speak MCP as expected.
        """
        try:
            with self._scope as scope:
                scope.deadline = anyio.current_time() + self.config.options.start_timeout
                await self._open_and_hold(scope)
        except Exception as error:
            self._failure = mask_error(self._explain(error))
            raise self._failure from error
        finally:
            self._session = None
            self.ended.set()
        if self._stopping:
            return
        seconds = self.config.options.start_timeout
        raise ServerTimeout(
            f'"{self.config.name}" was not ready within {seconds:g} s. {self._link.account()}'.strip(),
            hint='Raise "start_timeout" of this server if it is only slow.',
        )

    async def _open_and_hold(self, scope: anyio.CancelScope) -> None:
        async with self._link.streams() as (read, write):
            self._wire = wire = Wire(read, write)
            async with ClientSession(dispatcher=wire, message_handler=self._on_message) as session:
                await self._handshake(session)
                wire.modern = session.protocol_version == MODERN
                self.protocol, self.instructions = session.protocol_version, session.instructions
                await self._refresh(session, wire)
                scope.deadline = math.inf
                self._session = session
                self.ready.set()
                await self._hold(session, wire)
                raise ServerUnavailable(f'"{self.config.name}" ended the connection.')

    async def _handshake(self, session: ClientSession) -> None:
        """Legacy first by default: only there can servers ask back; a server that refuses gets the other protocol."""
        if self.config.options.mode == "auto":
            try:
                await session.discover()
                return
            except (MCPError, ValidationError, RuntimeError) as error:
                if isinstance(error, MCPError) and error.code == _CLOSED:
                    raise
        try:
            await session.initialize()
        except MCPError as error:
            # A server that was too slow for `discover` above has settled on the stateless protocol by now.
            if error.code != _WRONG_VERSION:
                raise
            await session.discover()

    async def _refresh(self, session: ClientSession, wire: Wire) -> None:
        tools: list[Mapping[str, JSON]] = []
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
                raise ProtocolError(f'"{self.config.name}" answers tools/list without a list of tools.')
            tools += listed
            following = page.next_cursor
            if not following or following == cursor:
                break
            cursor = following
        else:
            logger.warning("%s: more than %d pages of tools; the rest is left out", self.config.name, MAX_PAGES)
        self.tools = tuple(tools)

    async def _hold(self, session: ClientSession, wire: Wire) -> None:
        """Wait for the end of the connection; meanwhile follow changes of the tool list."""
        async with anyio.create_task_group() as group:

            async def until_gone() -> None:
                await wire.gone.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_gone)
            capabilities = session.server_capabilities
            if wire.modern and capabilities and capabilities.tools and capabilities.tools.list_changed:
                group.start_soon(self._listen, session)
            while True:
                await self._list_changed.wait()
                self._list_changed = anyio.Event()
                try:
                    with anyio.fail_after(REFRESH_SECONDS):
                        await self._refresh(session, wire)
                except (MCPError, ProtocolError, ValidationError, TimeoutError) as error:
                    logger.warning("%s: the changed tool list cannot be read: %s", self.config.name, error)
                    continue
                if self._on_tools_changed is not None:
                    self._on_tools_changed()

    async def _listen(self, session: ClientSession) -> None:
        """The stateless protocol tells of changes only on a stream that the client opens."""
        try:
            async with listen(session, tools_list_changed=True) as events:
                async for _ in events:
                    self._list_changed.set()
        except (SubscriptionLost, MCPError, TimeoutError) as error:
            logger.debug("%s: no more news of its tool list: %s", self.config.name, error)

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, wire_types.ToolListChangedNotification):
            self._list_changed.set()

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, JSON],
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
        meta: Mapping[str, JSON] | None = None,
    ) -> ToolResult:
        """Call a tool and give its result untouched; cancelling the caller cancels the call at the server.

        Args:
            timeout: seconds; None takes the server's `call_timeout`. Progress does not extend it.

        Raises:
            ServerTimeout: no answer in time; the server was told to stop.
            ServerUnavailable: the connection is not open or ended during the call.
            ProtocolError: the server answered with a JSON-RPC error or with what is not a tool result.
        """
        session, wire = self._session, self._wire
        if session is None or wire is None or wire.closed:
            raise ServerUnavailable(f'"{self.config.name}" is not connected.', hint="Try again in a moment.")
        limit = timeout if timeout is not None else self.config.options.call_timeout
        parameters = wire_types.CallToolRequestParams(name=tool, arguments=dict(arguments), _meta=meta)  # type: ignore[arg-type]
        try:
            with anyio.fail_after(limit + TIMEOUT_GRACE):
                answer = await session.send_request(
                    wire_types.CallToolRequest(params=parameters),
                    _AS_IT_IS,
                    request_read_timeout_seconds=limit,
                    progress_callback=cast(Any, progress),
                )
        except (MCPError, TimeoutError, anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError) as error:
            raise mask_error(await self._explain_call(error, tool, limit, wire)) from error
        return read_result(self.config.name, tool, answer.whole if isinstance(answer, Kept) else answer)

    async def _explain_call(self, error: Exception, tool: str, limit: float, wire: Wire) -> DownstreamError:
        name = self.config.name
        if self._link.failure is not None:
            # The next connection says the same, or is let in.
            wire.gone.set()
            return self._link.failure
        if self._link.denied is not None and isinstance(error, MCPError):
            return self._link.denied
        code = error.code if isinstance(error, MCPError) else None
        if code == _TIMED_OUT or isinstance(error, TimeoutError):
            hint = 'Raise "call_timeout" of this server if the tool needs longer.'
            if self.config.transport == "sse":
                # This transport does not tell us when a message could not be delivered.
                wire.gone.set()
            return ServerTimeout(f'"{name}" did not answer "{tool}" within {limit:g} s.', hint=hint)
        remote = self.config.transport != "stdio"
        lost = code == _CLOSED and (remote or wire.closed)
        forgotten = remote and code == _INVALID_REQUEST and "session" in str(error).lower()
        if lost or forgotten or not isinstance(error, MCPError):
            # Remote servers end unseen: whoever notices makes the owner task start again.
            wire.gone.set()
            with anyio.move_on_after(LAST_WORDS_SECONDS):
                await self.ended.wait()
            about = self._link.account() or (self._failure.message if self._failure else str(error))
            hint = "The call may or may not have been carried out; check before repeating it."
            return ServerUnavailable(f'"{name}" was lost during "{tool}". {about}'.strip(), hint=hint)
        hint = f'This is the answer of "{name}" itself.'
        return ProtocolError(f'"{name}" refused "{tool}": {error.message}', code=code, data=error.data, hint=hint)

    def _explain(self, error: BaseException) -> DownstreamError:
        """Turn what ended the connection into one of our errors, with what the server said last."""
        while isinstance(error, BaseExceptionGroup):
            ours = [inner for inner in error.exceptions if isinstance(inner, DownstreamError)]
            error = ours[0] if ours else error.exceptions[0]
        name, account = self.config.name, self._link.account()
        known = self._link.failure or self._link.denied
        if known is not None:
            return known
        if isinstance(error, DownstreamError):
            error.message = f"{error.message} {account}".strip()
            error.hint = self._link.hint or error.hint
            return error
        hint = self._link.hint or 'See "dualtune doctor".'
        if isinstance(error, httpx2.HTTPStatusError):
            status = error.response.status_code
            if status in (401, 403):
                hint = 'Check the token in "headers" of this server.'
            return ServerUnavailable(f'"{name}" answered HTTP {status}.', hint=hint)
        if isinstance(error, httpx2.SSEError):
            hint = "Reach this server over Streamable HTTP, which knows no such limit."
            return ServerUnavailable(f'"{name}" sent what SSE cannot carry: {error}', hint=hint)
        if isinstance(error, httpx2.TransportError):
            hint = f"Is it running at {self.config.url}?"
            return ServerUnavailable(f'"{name}" cannot be reached: {error or type(error).__name__}.', hint=hint)
        if isinstance(error, MCPError) and error.code == _CLOSED:
            about = account or str(error)
            return ServerUnavailable(f'"{name}" did not get ready. {about}'.strip(), hint=hint)
        if isinstance(error, MCPError) and account and self.config.transport == "http":
            return ServerUnavailable(f'"{name}" refuses the connection. {account}', hint=hint)
        if isinstance(error, MCPError):
            about = f'"{name}" refuses the connection: {error.message} (code {error.code}). {account}'.strip()
            return ProtocolError(about, code=error.code, data=error.data, hint=hint)
        about = f'"{name}" does not speak MCP as expected: {str(error)[:300]} {account}'.strip()
        return ProtocolError(about, hint=hint)
