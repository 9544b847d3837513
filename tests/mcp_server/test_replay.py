"""A handshake client that was away gets what it missed, within bounds, and never what was another's."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakSet

import anyio
import httpx2
import pytest
from mcp.server.streamable_http import GET_STREAM_KEY, EventMessage
from mcp.types import JSONRPCNotification, JSONRPCResponse

from mcp_dualtune.config import HttpSettings
from mcp_dualtune.mcp_server import replay
from mcp_dualtune.mcp_server.http import web_application
from mcp_dualtune.mcp_server.replay import Replay
from mcp_dualtune.mcp_server.server import build_server
from tests.passthrough.conftest import START_LIMIT, gateway_to, serve_app

pytestmark = pytest.mark.anyio
REVISION = "2025-11-25"


def told(text: str) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={"data": text})


def answered(number: int) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=number, result={})


async def missed(store: Replay, last: str) -> tuple[list[str], str | None]:
    """The ids of what is replayed, and the stream that goes on."""
    found: list[str] = []

    async def send(event: EventMessage) -> None:
        assert event.event_id is not None
        found.append(event.event_id)

    return found, await store.replay_events_after(last, send)


async def test_what_came_later_on_the_same_stream_is_replayed() -> None:
    store = Replay()
    begun = await store.store_event("7", None)
    first = await store.store_event("7", told("a"))
    await store.store_event("8", told("b"))
    second = await store.store_event("7", told("c"))
    assert await missed(store, begun) == ([first, second], "7")
    assert await missed(store, second) == ([], "7")
    last = await store.store_event("7", answered(7))
    # The answer ends a request's stream: nobody may wait on it for more.
    assert await missed(store, first) == ([second, last], None)


@pytest.mark.parametrize("last", ["", "x", "99/7", "-1/7", "٣/7", "1"])
async def test_an_id_that_was_never_given_replays_nothing(last: str) -> None:
    store = Replay()
    await store.store_event("7", told("a"))
    found, _ = await missed(store, last)
    assert found == []


async def test_little_is_kept_and_a_request_with_a_gap_is_not_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_EVENTS", 3)
    store = Replay()
    ids = [await store.store_event("7", told(str(number))) for number in range(5)]
    assert await missed(store, ids[1]) == (ids[2:], "7")
    assert await missed(store, ids[0]) == ([], None)
    monkeypatch.setattr(replay, "MOST_BYTES", 1_000)
    await store.store_event("7", told("x" * 2_000))
    assert store.size == 0
    # News go on whatever was missed: the lists can be read again.
    assert (await missed(store, f"1/{GET_STREAM_KEY}"))[1] == GET_STREAM_KEY


async def test_all_sessions_together_keep_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "ALL_BYTES", 1_000)
    beside: WeakSet[Replay] = WeakSet()
    full, late = Replay(beside), Replay(beside)
    for _ in range(9):
        await full.store_event("1", told("x" * 50))
    kept = await late.store_event("1", told("y"))
    assert full.size <= 1_000 and full.size + late.size <= 1_000 and kept
    del full
    gc.collect()
    begun = await late.store_event("2", None)
    await late.store_event("2", told("z" * 500))
    assert (await missed(late, begun))[0]


@asynccontextmanager
async def listening(resume: bool = True) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without any protocol in front of a gateway without servers."""
    async with gateway_to() as gateway:
        app = web_application(build_server(gateway), "http", HttpSettings(resume=resume))
        async with serve_app(app, "/mcp") as url:
            accept = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": REVISION}
            async with httpx2.AsyncClient(
                base_url=url.removesuffix("/mcp"), headers=accept, timeout=START_LIMIT
            ) as client:
                yield client


async def shake_hands(client: httpx2.AsyncClient) -> str:
    """Open a session and give its id."""
    params = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    opened = await client.post("/mcp", json=message)
    session = str(opened.headers["mcp-session-id"])
    headers = {"Mcp-Session-Id": session}
    await client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    return session


def events(text: str) -> list[dict[str, str]]:
    """The events of a stream, as they are written."""
    blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if block.strip()]
    return [dict(line.partition(": ")[::2] for line in block.split("\n") if ": " in line) for block in blocks]


async def resumed(client: httpx2.AsyncClient, session: str, last: str) -> list[dict[str, str]]:
    """What the session gets after its event `last`."""
    headers = {"Mcp-Session-Id": session, "Last-Event-ID": last}
    return events((await client.get("/mcp", headers=headers)).text)


async def test_an_answer_that_was_missed_is_sent_again_to_its_own_session_only() -> None:
    with anyio.fail_after(START_LIMIT):
        async with listening() as client:
            mine, other = await shake_hands(client), await shake_hands(client)
            asked: dict[str, Any] = {"jsonrpc": "2.0", "id": 5, "method": "tools/list"}
            answer = events((await client.post("/mcp", json=asked, headers={"Mcp-Session-Id": mine})).text)
            begun, last = answer[0]["id"], answer[-1]
            assert '"find_tools"' in last["data"]
            again = await resumed(client, mine, begun)
            assert [event["data"] for event in again] == [last["data"]]
            assert all(
                "find_tools" not in event.get("data", "") for event in await resumed_briefly(client, other, begun)
            )


async def resumed_briefly(client: httpx2.AsyncClient, session: str, last: str) -> list[dict[str, str]]:
    """The same for a stream that may stay open, waiting for more."""
    found = ""
    headers = {"Mcp-Session-Id": session, "Last-Event-ID": last}
    async with client.stream("GET", "/mcp", headers=headers) as response:
        # What was missed is sent as soon as the stream is open.
        with anyio.move_on_after(0.5):
            async for part in response.aiter_text():
                found += part
    return events(found)


async def test_without_the_setting_nothing_is_kept() -> None:
    with anyio.fail_after(START_LIMIT):
        async with listening(resume=False) as client:
            session = await shake_hands(client)
            asked = {"jsonrpc": "2.0", "id": 5, "method": "tools/list"}
            answer = events((await client.post("/mcp", json=asked, headers={"Mcp-Session-Id": session})).text)
            assert len(answer) == 1 and "id" not in answer[0]
