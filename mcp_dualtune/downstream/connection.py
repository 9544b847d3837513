"""One connection to one server: handshake, lists, requests, the server's own questions and news, end.

Owns a single run of the connection, held open by one owner task. Refuses to own: starting again (`pool`), choosing
whose connection it is (`lanes`), changing results.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, cast

import anyio
import mcp.types as wire_types
from mcp import ClientSession
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, TypeAdapter, ValidationError

from mcp_dualtune.config import ServerConfig, mask_error
from mcp_dualtune.downstream import failures, questions
from mcp_dualtune.downstream.listening import Listener, declares
from mcp_dualtune.downstream.listing import OTHERS, Entries, read_others, read_tools
from mcp_dualtune.downstream.pushed import callbacks
from mcp_dualtune.downstream.questions import LEVELS, Askers, Caller, Forwarded
from mcp_dualtune.downstream.transports import Link, make_link
from mcp_dualtune.downstream.wire import SPEAKS_FOR, Kept, Wire, read_result
from mcp_dualtune.errors import DownstreamError, InputRequired, ProtocolError, ServerUnavailable
from mcp_dualtune.types import JSON, Offer, ToolResult

Progress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Called with progress, total and message while a call runs."""
News = Callable[[str, Mapping[str, JSON]], None]
"""Called with method and parameters of a notification that belongs to no running request; must not block."""

REFRESH_SECONDS = 30.0
TIMEOUT_GRACE = 5.0
"""Seconds beyond a call's limit for it to be cancelled at the server and reported."""
LAST_WORDS_SECONDS = 1.0
MODERN = "2026-07-28"
_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
_AS_IT_IS: TypeAdapter[Any] = TypeAdapter(Any)
_Request = wire_types.Request[dict[str, Any], str]
_LIST_CHANGES = (
    wire_types.ToolListChangedNotification,
    wire_types.ResourceListChangedNotification,
    wire_types.PromptListChangedNotification,
)

_behind: ContextVar[Caller | None] = ContextVar("behind", default=None)
"""Whose request this is. Over HTTP the SDK brings it back with every message on that request's own stream."""

logger = logging.getLogger(__name__)


class Connection:
    """One run of a connection: `run` in a task of its own, everything else from any task of the same loop."""

    def __init__(self, config: ServerConfig, on_change: Callable[[], None] | None = None) -> None:
        self.config = config
        self.tools: Entries = ()
        """The tools in wire spelling, untouched, invalid ones included."""
        self.instructions: str | None = None
        self.protocol: str | None = None
        """Negotiated protocol version."""
        self.ready, self.lost, self.ended = anyio.Event(), anyio.Event(), anyio.Event()
        """`lost` comes before `ended`: no call can be made any more, but the server may still be ending."""
        self.askers = Askers()
        """Whose requests run here."""
        self.news: News | None = None
        self.subscribed: set[str] = set()
        """Resources whose changes are wanted; see `subscribe`."""
        self._others: dict[str, Entries] = {}
        self._capabilities: dict[str, Any] = {}
        self._on_change = on_change
        self._link: Link = make_link(config)
        self._session: ClientSession | None = None
        self._wire: Wire | None = None
        self._level: str | None = None
        self._list_changed = anyio.Event()
        self._listener = Listener(config.name, self.subscribed)
        self._scope = anyio.CancelScope()
        self._stopping = False
        self._failure: DownstreamError | None = None
        self._given_up: DownstreamError | None = None

    @property
    def pid(self) -> int | None:
        """Process id of a server that we started, while it runs."""
        return self._link.pid

    @property
    def usable(self) -> bool:
        """Whether a call can be sent now."""
        return self._session is not None and self._wire is not None and not self._wire.closed

    @property
    def modern(self) -> bool:
        """Whether this connection speaks the stateless protocol, where servers ask only in their answers."""
        return self.protocol == MODERN

    @property
    def offer(self) -> Offer:
        """What the server offers besides its tools."""
        resources, templates, prompts = (self._others.get(kind.method, ()) for kind in OTHERS)
        capabilities = frozenset(self._capabilities)
        return Offer(self.config.name, self.instructions, capabilities, resources, templates, prompts)

    def stop(self) -> None:
        """Make `run` close the connection and return."""
        self._stopping = True
        self._scope.cancel()

    def give_up(self, reason: DownstreamError) -> None:
        """Make `run` close the connection and raise `reason`."""
        if self._wire is not None and not self._wire.closed:
            self._given_up = reason
            self._wire.gone.set()

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
            self._failure = mask_error(failures.explain(error, self.config, self._link))
            raise self._failure from error
        finally:
            self._session = None
            self.ended.set()
        if not self._stopping:
            raise failures.not_ready(self.config, self._link)

    async def _open_and_hold(self, scope: anyio.CancelScope) -> None:
        async with self._link.streams() as (read, write):
            self._wire = wire = Wire(read, write)
            async with ClientSession(
                dispatcher=wire,
                message_handler=self._on_message,
                **callbacks(self.askers),
            ) as session:
                await self._handshake(session)
                wire.modern = session.protocol_version == MODERN
                self.protocol, self.instructions = session.protocol_version, session.instructions
                declared = session.server_capabilities
                self._capabilities = declared.model_dump(by_alias=True, exclude_none=True) if declared else {}
                await self._refresh(session, wire)
                scope.deadline = math.inf
                self._session = session
                self.ready.set()
                try:
                    await self._hold(session, wire)
                finally:
                    self.lost.set()
                raise self._given_up or ServerUnavailable(f'"{self.config.name}" ended the connection.')

    async def _handshake(self, session: ClientSession) -> None:
        """Legacy first by default: only there can servers ask back; a server that refuses gets the other protocol."""
        if self.config.options.mode == "auto":
            try:
                await session.discover()
                return
            except (MCPError, ValidationError, RuntimeError) as error:
                if isinstance(error, MCPError) and error.code == failures.CLOSED:
                    raise
        try:
            await session.initialize()
        except MCPError as error:
            # A server that was too slow for `discover` above has settled on the stateless protocol by now.
            if error.code != failures.WRONG_VERSION:
                raise
            await session.discover()

    async def _refresh(self, session: ClientSession, wire: Wire) -> None:
        self.tools = await read_tools(self.config.name, session, wire)
        self._others = await read_others(self.config.name, session)

    async def _hold(self, session: ClientSession, wire: Wire) -> None:
        """Wait for the end of the connection; meanwhile follow changes of what the server offers."""
        async with anyio.create_task_group() as group:

            async def until_gone() -> None:
                await wire.gone.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_gone)
            if wire.modern:
                group.start_soon(self._listener.run, session, self._capabilities)
            while True:
                await self._list_changed.wait()
                self._list_changed = anyio.Event()
                try:
                    with anyio.fail_after(REFRESH_SECONDS):
                        await self._refresh(session, wire)
                except (MCPError, ProtocolError, ValidationError, TimeoutError) as error:
                    logger.warning("%s: the changed lists cannot be read: %s", self.config.name, error)
                    continue
                if self._on_change is not None:
                    self._on_change()

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, _LIST_CHANGES):
            self._list_changed.set()
        elif isinstance(message, BaseModel):
            data = message.model_dump(by_alias=True, mode="json", exclude_none=True)
            caller = _behind.get() or self.askers.current()
            if isinstance(message, wire_types.ResourceUpdatedNotification):
                if self.news is not None:
                    self.news(data["method"], data["params"])
            elif caller is not None and not isinstance(message, wire_types.ProgressNotification):
                await caller.tell(data["method"], data.get("params") or {})

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, JSON],
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
        meta: Mapping[str, JSON] | None = None,
        caller: Caller | None = None,
        forwarded: Forwarded | None = None,
    ) -> ToolResult:
        """Call a tool and give its result untouched; cancelling the caller cancels the call at the server.

        Args:
            timeout: seconds; None takes the server's `call_timeout`. Progress does not extend it.
            caller: who may be asked what the server asks.
            forwarded: what else the client's own request carries.

        Raises:
            ServerTimeout: no answer in time; the server was told to stop.
            ServerUnavailable: the connection is not open or ended during the call.
            InputRequired: the server asks for input, and `forwarded` says that the client takes that as an answer.
            ProtocolError: the server answered with a JSON-RPC error or with what is not a tool result.
        """
        params = {**(forwarded.fields if forwarded else {}), "name": tool, "arguments": dict(arguments)}
        if meta:
            params["_meta"] = {**params.get("_meta", {}), **meta}
        straight = forwarded is not None and forwarded.straight
        raw = await self.request(
            "tools/call", params, what=tool, timeout=timeout, progress=progress, caller=caller, straight=straight
        )
        return read_result(self.config.name, tool, raw)

    async def request(
        self,
        method: str,
        params: Mapping[str, JSON],
        *,
        what: str = "",
        timeout: float | None = None,
        progress: Progress | None = None,
        caller: Caller | None = None,
        straight: bool = False,
    ) -> Mapping[str, JSON]:
        """Send any request and give its result untouched; see `call`.

        Raises:
            DownstreamError: as `call`.
        """

        async def send(more: Mapping[str, JSON]) -> Mapping[str, JSON]:
            return await self._send(method, {**params, **more}, what or method, timeout, progress, caller)

        with self.askers.running(caller):
            if caller is not None and not self.modern:
                await self._set_level(caller.level)
            result = await send({})
            if result.get("resultType") == "input_required":
                if straight:
                    raise InputRequired(f'"{self.config.name}" asks for input before it answers.', result)
                result = await questions.settle(result, caller, send)
        return result

    async def _send(
        self,
        method: str,
        params: Mapping[str, JSON],
        what: str,
        timeout: float | None,
        progress: Progress | None,
        caller: Caller | None,
    ) -> Mapping[str, JSON]:
        session, wire = self._session, self._wire
        if session is None or wire is None or wire.closed:
            raise ServerUnavailable(f'"{self.config.name}" is not connected.', hint="Try again in a moment.")
        limit = timeout if timeout is not None else self.config.options.call_timeout
        request = _Request(method=method, params=self._addressed(params, caller))
        behind = _behind.set(caller)
        try:
            with self.askers.limit(limit):
                answer = await session.send_request(request, _AS_IT_IS, progress_callback=cast(Any, progress))
        except (MCPError, TimeoutError, anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError) as error:
            raise mask_error(await self._explain_call(error, what, limit, wire)) from error
        finally:
            _behind.reset(behind)
        return answer.whole if isinstance(answer, Kept) else cast(Mapping[str, JSON], answer)

    def _addressed(self, params: Mapping[str, JSON], caller: Caller | None) -> dict[str, Any]:
        """Say to a server of the stateless protocol what the client behind this request can do and wants to hear."""
        if not self.modern:
            return dict(params)
        able = caller.capabilities if caller is not None else {}
        meta = {**params.get("_meta", {}), SPEAKS_FOR: able}
        if caller is not None:
            # Handshake clients hear everything until they say otherwise.
            level = caller.level or (None if caller.modern else LEVELS[0])
            meta |= {_LOG_LEVEL: level} if level else {}
        return {**params, "_meta": meta}

    async def _set_level(self, level: str | None) -> None:
        """Make a handshake server at least as talkative as `level`; what others do not want to hear is kept back."""
        if level is None or "logging" not in self._capabilities or level == self._level:
            return
        if self._level is None or LEVELS.index(level) < LEVELS.index(self._level):
            self._level = level
            await self._send("logging/setLevel", {"level": level}, "logging/setLevel", None, None, None)

    async def subscribe(self, uri: str) -> None:
        """Ask to be told of changes of a resource.

        Raises:
            DownstreamError: as `call`.
        """
        self.subscribed.add(uri)
        self._listener.renew()
        if not self.modern and declares(self._capabilities, "resources", "subscribe"):
            await self.request("resources/subscribe", {"uri": uri})

    async def unsubscribe(self, uri: str) -> None:
        """Ask to be told no more.

        Raises:
            DownstreamError: as `call`.
        """
        self.subscribed.discard(uri)
        self._listener.renew()
        if not self.modern and declares(self._capabilities, "resources", "subscribe"):
            await self.request("resources/unsubscribe", {"uri": uri})

    async def say_roots_changed(self) -> None:
        """Tell a handshake server that the client's folders are others now."""
        if self._session is not None and not self.modern:
            await self._session.send_notification(wire_types.RootsListChangedNotification())

    async def ping(self, timeout: float) -> bool:
        """Ask for a sign of life; any answer is one, also an error. False is silence, or a connection that is lost.

        Finding it lost ends the connection: a remote server that went away while idle is noticed here first.
        """
        session, wire = self._session, self._wire
        if session is None or wire is None or wire.closed:
            return False
        try:
            with anyio.fail_after(timeout):
                # The stateless protocol has no ping; every server must answer this.
                await (session.send_discover(MODERN) if wire.modern else session.send_ping())
        except (MCPError, TimeoutError, anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError) as error:
            silent = failures.timed_out(error)
            if not silent and failures.lost(error, self.config, wire.closed):
                wire.gone.set()
            return not silent and not wire.closed
        except ValidationError:
            return True
        return True

    async def _explain_call(self, error: Exception, what: str, limit: float, wire: Wire) -> DownstreamError:
        if self._link.failure is not None:
            # The next connection says the same, or is let in.
            wire.gone.set()
            return self._link.failure
        if self._link.denied is not None and isinstance(error, MCPError):
            return self._link.denied
        if failures.timed_out(error):
            if self.config.transport == "sse":
                # This transport does not tell us when a message could not be delivered.
                wire.gone.set()
            return failures.no_answer(self.config, what, limit)
        if isinstance(error, MCPError) and not failures.lost(error, self.config, wire.closed):
            return failures.refused(self.config, what, error)
        # Remote servers end unseen: whoever notices makes the owner task start again.
        wire.gone.set()
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            await self.ended.wait()
        about = self._link.account() or (self._failure.message if self._failure else str(error))
        return failures.lost_during(self.config, what, about)
