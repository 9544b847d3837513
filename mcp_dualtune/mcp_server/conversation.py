"""One request that may have to ask its user something before it can be answered, in both protocol eras.

With a back-channel the question is pushed while the request waits. Without one the work goes on in a task of the
server, the request is answered `input_required` with a token, and the client's retry picks the work up where it waits.
Owns the waiting work. Refuses to know what is asked and why.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import Any

import anyio
import mcp.types as mcp_types
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel

from mcp_dualtune.downstream.questions import Caller, Lane, can_be_asked
from mcp_dualtune.errors import ProtocolError
from mcp_dualtune.mcp_server.results import Wire
from mcp_dualtune.mcp_server.sessions import MODERN, ONE_USER, Context, Session, connection_of, loud_enough
from mcp_dualtune.types import JSON

ANSWER_LIMIT = 600.0
"""Seconds that a person has for an answer; the SDK's sealed tokens live as long."""
ANSWER = "answer"
STRAIGHT = "straight."
"""Begins the state of a question that a server of the stateless protocol asked: its own state follows."""
_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
_REQUESTS: Mapping[str, type[BaseModel]] = {
    "elicitation/create": mcp_types.ElicitRequest,
    "sampling/createMessage": mcp_types.CreateMessageRequest,
    "roots/list": mcp_types.ListRootsRequest,
}
Retry = mcp_types.CallToolRequestParams | mcp_types.GetPromptRequestParams | mcp_types.ReadResourceRequestParams
"""Parameters of the requests that may be answered with a question."""


class Conversation:
    """What a piece of work may say to the client that asked for it."""

    def __init__(self, ctx: Context, one_user: bool = False) -> None:
        self.ctx = ctx
        self._one_user = one_user
        self._said = 0
        self._told = 0.0

    @property
    def modern(self) -> bool:
        """Whether the client speaks the stateless protocol."""
        return self.ctx.protocol_version >= MODERN

    @property
    def user(self) -> Hashable:
        """Its session; a request of the stateless protocol stands for itself, unless there is only one user."""
        if self._one_user:
            return ONE_USER
        return self if self.modern else connection_of(self.ctx)

    @property
    def lane(self) -> Lane:
        """Whom it may meet where servers ask: questions must reach nobody else."""
        if self._one_user:
            return "shared"
        return "call" if self.modern else "own"

    @cached_property
    def capabilities(self) -> Mapping[str, JSON]:
        """What the client declared, in wire spelling."""
        declared = self.ctx.session.client_capabilities
        return declared.model_dump(by_alias=True, exclude_none=True) if declared else {}

    @property
    def level(self) -> str | None:
        """The least level of log messages that the client wants; None when it never said."""
        if self.modern:
            level = (self.ctx.meta or {}).get(_LOG_LEVEL)
            return level if isinstance(level, str) else None
        return session.level if (session := Session.of(self.ctx)) else None

    @property
    def standing(self) -> Caller | None:
        """The session that the request belongs to."""
        return Session.of(self.ctx)

    def can_ask(self) -> bool:
        """Whether the client declared that it shows forms."""
        capabilities = self.ctx.session.client_capabilities
        elicitation = capabilities.elicitation if capabilities else None
        return elicitation is not None and (elicitation.form is not None or elicitation.url is None)

    async def report(self, message: str) -> None:
        """Tell the client what has happened; nothing is sent when it did not ask for progress."""
        self._said += 1
        self._told = float(self._said)
        await self.ctx.session.report_progress(self._told, None, message)

    async def report_part(self, done: float, total: float | None, message: str | None) -> None:
        """Tell how far the running call is, as a part of the next step; progress must only ever grow."""
        part = done / total if total else done / (abs(done) + 1)
        told = self._said + min(part, 0.99)
        if told > self._told:
            self._told = told
            await self.ctx.session.report_progress(told, None, message)

    async def relay(self, done: float, total: float | None, message: str | None) -> None:
        """Pass on what the one server behind this request says about its progress, as it came."""
        await self.ctx.session.report_progress(done, total, message)

    async def tell(self, method: str, params: Mapping[str, JSON]) -> None:
        """Pass on a server's notification; log messages only as far as the client wants to hear them."""
        unwanted = self.modern and self.level is None
        if method == "notifications/message" and (unwanted or not loud_enough(params.get("level"), self.level)):
            return
        notification = mcp_types.server_notification_adapter.validate_python({"method": method, "params": params})
        await self.ctx.session.send_notification(notification, self.ctx.request_id)

    async def ask(self, message: str, form: dict[str, Any]) -> dict[str, Any] | None:
        """Show a form and wait for it, at most `ANSWER_LIMIT` seconds; None when nobody filled it in."""
        if not self.can_ask():
            return None
        params = {"mode": "form", "message": message, "requestedSchema": form}
        try:
            answer = await self.answer("elicitation/create", params)
        except ProtocolError:
            return None
        return dict(answer.get("content") or {}) if answer.get("action") == "accept" else None

    async def answer(self, method: str, params: Mapping[str, JSON]) -> JSON:
        """Put any question that the protocol knows to the client; see `ask`.

        Raises:
            ProtocolError: the client answered with an error, or not at all.
        """
        if method not in _REQUESTS:
            raise ProtocolError(f"{method} is not a question.", code=mcp_types.METHOD_NOT_FOUND)
        given: dict[str, JSON] = {"method": method, "params": dict(params)} if params else {"method": method}
        if params.get("mode") == "url" and not self.modern:
            # This era wants a name for it, which servers of the other era do not give.
            given["params"] = {"elicitationId": secrets.token_urlsafe(12), **params}
        try:
            with anyio.fail_after(ANSWER_LIMIT):
                found = await self._put(_REQUESTS[method].model_validate(given, by_name=False))
        except MCPError as error:
            raise ProtocolError(error.message, code=error.code, data=error.data) from error
        except (TimeoutError, ValueError) as error:
            message = (
                "Nobody answered." if isinstance(error, TimeoutError) else "The question or its answer is not MCP."
            )
            raise ProtocolError(message, code=mcp_types.INTERNAL_ERROR) from error
        return found.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def _put(self, question: Any) -> BaseModel:
        kind = _answer_types(question)[0]
        about = ServerMessageMetadata(related_request_id=self.ctx.request_id)
        return await self.ctx.session.send_request(question, kind, metadata=about)


Work = Callable[[Conversation], Awaitable[Wire]]


class _Open:
    """A question that waits for its answer."""

    def __init__(self, question: Any) -> None:
        self.question = question
        self.answered = anyio.Event()
        self.given: BaseModel | None = None

    def answer(self, given: BaseModel | None) -> None:
        self.given = given
        self.answered.set()


class _ParkedConversation(Conversation):
    """A conversation whose questions are answered by a later request of the client."""

    def __init__(self, ctx: Context, one_user: bool) -> None:
        super().__init__(ctx, one_user)
        self.scope = anyio.CancelScope()
        self.outcome: Wire | Exception | None = None
        self.asked: _Open | None = None
        """What the client was asked last."""
        self._events_in: MemoryObjectSendStream[_Open | None]
        self._events_in, self.events = anyio.create_memory_object_stream[_Open | None](math.inf)
        self._open: list[_Open] = []

    async def _put(self, question: Any) -> BaseModel:
        opened = _Open(question)
        self._open.append(opened)
        try:
            self._events_in.send_nowait(opened)
            await opened.answered.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._open.remove(opened)
        if isinstance(opened.given, _answer_types(question)):
            return opened.given
        if isinstance(question, mcp_types.ElicitRequest):
            return mcp_types.ElicitResult(action="cancel")
        raise MCPError(mcp_types.INVALID_PARAMS, "The client gave no answer.")

    async def run(self, work: Work) -> None:
        """Do the work; its result or error stays in `outcome` for the request that follows it."""
        with self.scope:
            try:
                self.outcome = await work(self)
            except Exception as error:
                self.outcome = error
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._events_in.send_nowait(None)

    def leave(self) -> None:
        """Stop the work, if it still runs, and listen to it no more."""
        if self.outcome is None:
            self.scope.cancel()
        self.events.close()
        self._events_in.close()
        for opened in self._open:
            opened.answer(None)


class Conversations:
    """All work that waits for an answer; one object per running server."""

    def __init__(self, tasks: TaskGroup, one_user: bool = False) -> None:
        self._tasks, self._one_user = tasks, one_user
        self._parked: dict[str, _ParkedConversation] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, one_user: bool = False) -> AsyncIterator[Conversations]:
        """Waiting work lives as long as this context; leaving it cancels what still waits."""
        async with anyio.create_task_group() as tasks:
            conversations = cls(tasks, one_user)
            try:
                yield conversations
            finally:
                for parked in conversations._parked.values():
                    parked.leave()
                tasks.cancel_scope.cancel()

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for an answer right now."""
        return len(self._parked)

    async def hold(self, ctx: Context, params: Retry, work: Work) -> Wire | mcp_types.InputRequiredResult:
        """Run `work`, or go on with the work that `params.request_state` names, until it ends or asks.

        Raises:
            MCPError: the question that the client answers is not waiting any more.
        """
        if params.request_state is not None and not params.request_state.startswith(STRAIGHT):
            return await self._resume(ctx, params)
        conversation = Conversation(ctx, self._one_user)
        if not conversation.modern or not can_be_asked(conversation.capabilities):
            return await work(conversation)
        parked = _ParkedConversation(ctx, self._one_user)
        self._tasks.start_soon(parked.run, work)
        return await self._follow(parked)

    async def _resume(self, ctx: Context, params: Retry) -> Wire | mcp_types.InputRequiredResult:
        parked = self._parked.pop(params.request_state or "", None)
        if parked is None:
            raise MCPError(mcp_types.INVALID_PARAMS, "This question is not waiting any more; send the request again.")
        parked.ctx = ctx
        if parked.asked is not None:
            parked.asked.answer((params.input_responses or {}).get(ANSWER))
        return await self._follow(parked)

    async def _follow(self, parked: _ParkedConversation) -> Wire | mcp_types.InputRequiredResult:
        try:
            opened = await parked.events.receive()
        except anyio.get_cancelled_exc_class():
            # The client gave up on this request: so does the work behind it.
            parked.leave()
            raise
        if opened is not None:
            parked.asked = opened
            token = secrets.token_urlsafe(24)
            self._parked[token] = parked
            self._tasks.start_soon(self._expire, token)
            return mcp_types.InputRequiredResult(input_requests={ANSWER: opened.question}, request_state=token)
        outcome = parked.outcome
        parked.leave()
        if outcome is None:
            raise MCPError(mcp_types.INTERNAL_ERROR, "The work was stopped before it was done.")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _expire(self, token: str) -> None:
        await anyio.sleep(ANSWER_LIMIT)
        abandoned = self._parked.pop(token, None)
        if abandoned is not None:
            abandoned.leave()


def _answer_types(question: Any) -> tuple[type[BaseModel], ...]:
    """What may answer a question; the first is what it asks for."""
    if isinstance(question, mcp_types.ElicitRequest):
        return (mcp_types.ElicitResult,)
    if isinstance(question, mcp_types.ListRootsRequest):
        return (mcp_types.ListRootsResult,)
    kinds = (mcp_types.CreateMessageResult, mcp_types.CreateMessageResultWithTools)
    return kinds[::-1] if question.params.tools else kinds
