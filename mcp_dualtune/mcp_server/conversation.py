"""One tool call that may have to ask its user something before it can answer, in both protocol eras.

With a back-channel the question is pushed while the call waits. Without one the work goes on in a task of the server,
the call answers `input_required` with a token, and the client's retry picks the work up where it waits. Owns the
waiting work. Refuses to know what is asked and why.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import mcp.types as mcp_types
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from mcp_dualtune.mcp_server.results import Wire

MODERN = "2026-07-28"
"""First protocol version without a back-channel; versions are dates, so they compare as text."""
ANSWER_LIMIT = 600.0
"""Seconds that a person has for an answer; the SDK's sealed tokens live as long."""
ANSWER = "answer"
Context = ServerRequestContext[Any, Any]


class Conversation:
    """What a piece of work may say to the client that asked for it."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._said = 0
        self._told = 0.0

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

    async def ask(self, message: str, form: dict[str, Any]) -> dict[str, Any] | None:
        """Show a form and wait for it, at most `ANSWER_LIMIT` seconds; None when nobody filled it in."""
        if not self.can_ask():
            return None
        with anyio.move_on_after(ANSWER_LIMIT):
            answer = await self._put(message, form)
            return dict(answer.content or {}) if answer.action == "accept" else None
        return None

    async def _put(self, message: str, form: dict[str, Any]) -> mcp_types.ElicitResult:
        return await self.ctx.session.elicit_form(message, form, self.ctx.request_id)


Work = Callable[[Conversation], Awaitable[Wire]]


class _ParkedConversation(Conversation):
    """A conversation whose questions are answered by a later request of the client."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.scope = anyio.CancelScope()
        self.outcome: Wire | Exception | None = None
        self._events_in: MemoryObjectSendStream[mcp_types.ElicitRequest | None]
        self._events_in, self.events = anyio.create_memory_object_stream[mcp_types.ElicitRequest | None](math.inf)
        self._answers_in: MemoryObjectSendStream[mcp_types.ElicitResult]
        self._answers: MemoryObjectReceiveStream[mcp_types.ElicitResult]
        self._answers_in, self._answers = anyio.create_memory_object_stream[mcp_types.ElicitResult](1)

    async def _put(self, message: str, form: dict[str, Any]) -> mcp_types.ElicitResult:
        params = mcp_types.ElicitRequestFormParams(message=message, requested_schema=form)
        self._events_in.send_nowait(mcp_types.ElicitRequest(params=params))
        return await self._answers.receive()

    def answer(self, answer: mcp_types.ElicitResult) -> None:
        """Hand the waiting work its answer; work that has stopped waiting just now goes on without it."""
        with suppress(anyio.BrokenResourceError):
            self._answers_in.send_nowait(answer)

    async def run(self, work: Work) -> None:
        """Do the work; its result or error stays in `outcome` for the request that follows it."""
        with self._events_in, self._answers:
            with self.scope:
                try:
                    self.outcome = await work(self)
                except Exception as error:
                    self.outcome = error
            with suppress(anyio.BrokenResourceError):
                self._events_in.send_nowait(None)

    def leave(self) -> None:
        """Stop the work, if it still runs, and listen to it no more."""
        self.scope.cancel()
        self.events.close()
        self._answers_in.close()


class Conversations:
    """All work that waits for an answer; one object per running server."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._parked: dict[str, _ParkedConversation] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Conversations]:
        """Waiting work lives as long as this context; leaving it cancels what still waits."""
        async with anyio.create_task_group() as tasks:
            conversations = cls(tasks)
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

    async def hold(
        self, ctx: Context, params: mcp_types.CallToolRequestParams, work: Work
    ) -> Wire | mcp_types.InputRequiredResult:
        """Run `work`, or go on with the work that `params.request_state` names, until it ends or asks.

        Raises:
            MCPError: the question that the client answers is not waiting any more.
        """
        if params.request_state is not None:
            return await self._resume(ctx, params)
        conversation = Conversation(ctx)
        if ctx.protocol_version < MODERN or not conversation.can_ask():
            return await work(conversation)
        parked = _ParkedConversation(ctx)
        self._tasks.start_soon(parked.run, work)
        return await self._follow(parked)

    async def _resume(
        self, ctx: Context, params: mcp_types.CallToolRequestParams
    ) -> Wire | mcp_types.InputRequiredResult:
        parked = self._parked.pop(params.request_state or "", None)
        if parked is None:
            raise MCPError(mcp_types.INVALID_PARAMS, "This question is not waiting any more; send the request again.")
        parked.ctx = ctx
        given = (params.input_responses or {}).get(ANSWER)
        declined = mcp_types.ElicitResult(action="cancel")
        parked.answer(given if isinstance(given, mcp_types.ElicitResult) else declined)
        return await self._follow(parked)

    async def _follow(self, parked: _ParkedConversation) -> Wire | mcp_types.InputRequiredResult:
        try:
            question = await parked.events.receive()
        except anyio.get_cancelled_exc_class():
            # The client gave up on this request: so does the work behind it.
            parked.leave()
            raise
        if question is not None:
            token = secrets.token_urlsafe(24)
            self._parked[token] = parked
            self._tasks.start_soon(self._expire, token)
            return mcp_types.InputRequiredResult(input_requests={ANSWER: question}, request_state=token)
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
