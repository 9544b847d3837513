"""Work that waits for an answer: what becomes of it when none comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import mcp.types as mcp_types
import pytest
from mcp.shared.exceptions import MCPError

from mcp_dualtune.mcp_server import conversation
from mcp_dualtune.mcp_server.conversation import ANSWER, MODERN, Conversation, Conversations
from mcp_dualtune.mcp_server.results import Wire

pytestmark = pytest.mark.anyio
LIMIT = 60
FORM: dict[str, Any] = {"type": "object", "properties": {}}


def context(version: str = MODERN) -> Any:
    """A request of a client that shows forms."""
    form = mcp_types.ElicitationCapability(form=mcp_types.FormElicitationCapability())
    capabilities = mcp_types.ClientCapabilities(elicitation=form)
    return SimpleNamespace(protocol_version=version, session=SimpleNamespace(client_capabilities=capabilities))


def call(state: str | None = None, answer: mcp_types.ElicitResult | None = None) -> mcp_types.CallToolRequestParams:
    """A tool call, or the retry that answers its question."""
    given = {ANSWER: answer} if answer else None
    return mcp_types.CallToolRequestParams(name="do", request_state=state, input_responses=given)


async def asks(talk: Conversation) -> Wire:
    """Work that asks once and tells the answer."""
    return {"answer": await talk.ask("Well?", FORM)}


async def test_a_retry_goes_on_where_the_work_waits() -> None:
    with anyio.fail_after(LIMIT):
        async with Conversations.open() as conversations:
            asked = await conversations.hold(context(), call(), asks)
            assert isinstance(asked, mcp_types.InputRequiredResult) and conversations.waiting == 1
            accepted = mcp_types.ElicitResult(action="accept", content={"a": 1})
            assert await conversations.hold(context(), call(asked.request_state, accepted), asks) == {
                "answer": {"a": 1}
            }
            assert conversations.waiting == 0


async def test_a_retry_without_an_answer_counts_as_none() -> None:
    with anyio.fail_after(LIMIT):
        async with Conversations.open() as conversations:
            asked = await conversations.hold(context(), call(), asks)
            assert isinstance(asked, mcp_types.InputRequiredResult)
            assert await conversations.hold(context(), call(asked.request_state), asks) == {"answer": None}


async def test_an_error_of_the_work_is_raised_to_the_request_that_follows_it() -> None:
    async def fails(talk: Conversation) -> Wire:
        await talk.ask("Well?", FORM)
        raise KeyError("inside")

    with anyio.fail_after(LIMIT):
        async with Conversations.open() as conversations:
            asked = await conversations.hold(context(), call(), fails)
            assert isinstance(asked, mcp_types.InputRequiredResult)
            with pytest.raises(KeyError, match="inside"):
                await conversations.hold(context(), call(asked.request_state), fails)


async def test_a_question_that_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_LIMIT", 0.05)
    with anyio.fail_after(LIMIT):
        async with Conversations.open() as conversations:
            asked = await conversations.hold(context(), call(), asks)
            assert isinstance(asked, mcp_types.InputRequiredResult)
            while conversations.waiting:
                await anyio.wait_all_tasks_blocked()
                await anyio.sleep(0.01)
            with pytest.raises(MCPError, match="not waiting any more"):
                await conversations.hold(context(), call(asked.request_state), asks)


async def test_what_still_waits_ends_with_the_server() -> None:
    ended = anyio.Event()

    async def waits(talk: Conversation) -> Wire:
        try:
            return await asks(talk)
        finally:
            ended.set()

    with anyio.fail_after(LIMIT):
        async with Conversations.open() as conversations:
            await conversations.hold(context(), call(), waits)
            assert not ended.is_set()
    assert ended.is_set()
