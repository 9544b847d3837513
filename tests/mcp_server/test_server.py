"""What a client of our server gets, in both protocol eras."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp.types as mcp_types
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import AuditSettings, Config, ServerConfig, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.exposure import own_tools
from mcp_dualtune.mcp_server.questions import GO_AHEAD
from mcp_dualtune.mcp_server.server import build_server
from tests.mcp_server.conftest import NOTES, PATIENT, settings
from tests.naming_engine import NamingEngine, alone

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
LIMIT = 120
Connect = Callable[..., Client]
LISTING = Path(__file__).resolve().parents[1] / "security" / "listing_server.py"
WAITING = Path(__file__).with_name("waiting_server.py")


def adding(engine: NamingEngine, title: str, text: str = "milk", *, then: str = "finish") -> None:
    """The model adds a note and is done."""
    engine.choices += [{"notes": 1.0}, {"add_note": 1.0}, {"notes": 1.0}, {then: 1.0}]
    engine.answers += [f'{{"title": " {title}", "text": " {text}", "tags":<|skip|>}}']


def asking(engine: NamingEngine) -> None:
    """The model wants to add a note and finds no title for it."""
    engine.choices += [{"notes": 1.0}, {"add_note": 1.0}]
    engine.answers += ['{"title":<|ask|>, "text": " milk", "tags":<|skip|>}']


def deleting(engine: NamingEngine, title: str) -> None:
    """The model deletes a note and is done."""
    engine.choices += [{"notes": 1.0}, {"delete_note": 1.0}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers += [f'{{"title": " {title}"}}']


def answering(*answers: dict[str, Any] | None) -> tuple[Callable[..., Any], list[Any]]:
    """An elicitation callback that gives `answers` in turn (None declines), and the questions it saw."""
    left, seen = list(answers), []

    async def callback(context: Any, params: Any) -> mcp_types.ElicitResult:
        seen.append(params)
        answer = left.pop(0)
        return mcp_types.ElicitResult(action="accept" if answer is not None else "decline", content=answer)

    return callback, seen


async def test_our_tools_come_first_and_the_servers_tools_follow(connect: Connect) -> None:
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            tools = (await client.list_tools()).tools
    names = [tool.name for tool in tools]
    assert names[:3] == [tool["name"] for tool in own_tools()]
    assert "notes__delete_note" in names
    deletes = next(tool for tool in tools if tool.name == "notes__delete_note")
    assert deletes.annotations is not None and deletes.annotations.destructive_hint is True


async def test_do_returns_the_tools_own_answer_the_trajectory_and_progress(
    connect: Connect, engine: NamingEngine, folder: Path, request: pytest.FixtureRequest
) -> None:
    title = request.node.name.replace("[", "-").replace("]", "")
    adding(engine, title)
    said: list[Any] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        said.append((done, message))

    with anyio.fail_after(LIMIT):
        async with connect() as client:
            result = await client.call_tool("do", {"request": f"note milk as {title}"}, progress_callback=progress)
    assert [block.text for block in result.content] == [f"Wrote {title!r}."]
    assert result.is_error is False
    assert (folder / f"{title}.txt").read_text(encoding="utf-8") == "milk"
    run = result.structured_content
    jsonschema.validate(run, own_tools()[0]["outputSchema"])
    assert run["outcome"] == "finish"
    assert run["steps"][0]["call"] == {
        "server": "notes",
        "tool": "add_note",
        "arguments": {"title": title, "text": "milk"},
    }
    assert [done for done, _ in said] == [1.0] and "notes/add_note answered" in said[0][1]


async def test_a_servers_own_progress_reaches_the_client(connect: Connect, engine: NamingEngine, folder: Path) -> None:
    for title in ("one", "two"):
        (folder / f"{title}.txt").write_text("far", encoding="utf-8")
    direct: list[Any] = []
    within: list[Any] = []

    async def for_call(done: float, total: float | None, message: str | None) -> None:
        direct.append((done, total))

    async def for_do(done: float, total: float | None, message: str | None) -> None:
        within.append(done)

    engine.choices += [{"notes": 1.0}, {"search_notes": 1.0}, {"notes": 1.0}, {"finish": 1.0}]
    engine.answers += ['{"query": " far", "limit":<|skip|>}']
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            await client.call_tool("notes__search_notes", {"query": "far"}, progress_callback=for_call)
            await client.call_tool("do", {"request": "search far"}, progress_callback=for_do)
    count = len(direct)
    assert count >= 2 and direct == [(place, count) for place in range(1, count + 1)]
    assert within == [*(min(place / count, 0.99) for place in range(1, count + 1)), 1.0]


async def test_plan_decides_and_calls_nothing(connect: Connect, engine: NamingEngine, folder: Path) -> None:
    engine.choices = [{"notes": 0.9}, {"add_note": 0.8}]
    engine.answers = ['{"title": " never", "text": " x", "tags":<|skip|>}']
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            result = await client.call_tool("plan", {"request": "note x as never"})
    decision = result.structured_content
    assert (decision["outcome"], decision["server"], decision["tool"]) == ("call", "notes", "add_note")
    assert decision["provenance"]["title"]["source"] == "request"
    assert not (folder / "never.txt").exists()


async def test_a_missing_value_is_asked_of_the_user_and_used(
    connect: Connect, engine: NamingEngine, folder: Path, request: pytest.FixtureRequest
) -> None:
    title = f"asked-{request.node.callspec.id}"
    asking(engine)
    engine.choices += [{"notes": 1.0}, {"finish": 1.0}]
    callback, seen = answering({"title": title})
    with anyio.fail_after(LIMIT):
        async with connect(elicitation_callback=callback) as client:
            result = await client.call_tool("do", {"request": "make a note saying milk"})
    assert [list(params.requested_schema["properties"]) for params in seen] == [["title"]]
    assert result.structured_content["outcome"] == "finish"
    assert (folder / f"{title}.txt").exists()


@pytest.mark.parametrize("can_ask", [False, True])
async def test_without_an_answer_the_missing_value_is_the_result(
    connect: Connect, engine: NamingEngine, can_ask: bool
) -> None:
    asking(engine)
    callback, seen = answering(None)
    with anyio.fail_after(LIMIT):
        async with connect(**({"elicitation_callback": callback} if can_ask else {})) as client:
            result = await client.call_tool("do", {"request": "make a note saying milk"})
    assert len(seen) == can_ask
    assert result.is_error is False
    assert result.structured_content["outcome"] == "ask"
    assert result.structured_content["final"]["missing"] == ["title"]
    assert "`title`" in result.content[0].text


@pytest.mark.parametrize(("answer", "deleted"), [({GO_AHEAD: True}, True), ({GO_AHEAD: False}, False), (None, False)])
async def test_a_destructive_call_is_made_only_after_a_yes(
    connect: Connect, engine: NamingEngine, folder: Path, answer: dict[str, Any] | None, deleted: bool
) -> None:
    (folder / "old.txt").write_text("x", encoding="utf-8")
    deleting(engine, "old")
    callback, seen = answering(answer)
    with anyio.fail_after(LIMIT):
        async with connect(elicitation_callback=callback) as client:
            result = await client.call_tool("do", {"request": "delete the note old"})
    assert "delete_note" in seen[0].message and '"old"' in seen[0].message
    assert (folder / "old.txt").exists() is not deleted
    assert result.is_error is not deleted


async def test_a_destructive_call_is_refused_when_nobody_can_be_asked(
    connect: Connect, engine: NamingEngine, folder: Path
) -> None:
    (folder / "old.txt").write_text("x", encoding="utf-8")
    deleting(engine, "old")
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            done = await client.call_tool("do", {"request": "delete the note old"})
            direct = await client.call_tool("notes__delete_note", {"title": "old"})
    assert (folder / "old.txt").exists()
    assert done.is_error and direct.is_error
    assert all("nobody could be asked for a yes" in result.content[0].text for result in (done, direct))
    assert '"notes/delete_note", "action": "allow"' in direct.content[0].text
    assert done.structured_content["stopped_by"] == "policy"


async def test_two_questions_at_once_get_their_own_answers(
    connect: Connect, engine: NamingEngine, folder: Path
) -> None:
    for title in ("one", "two"):
        (folder / f"{title}.txt").write_text("x", encoding="utf-8")

    async def only_one(context: Any, params: Any) -> mcp_types.ElicitResult:
        # Answered only when both questions are there: so neither can have got the other's answer by order alone.
        asked.append(params.message)
        if len(asked) == 2:
            both.set()
        await both.wait()
        return mcp_types.ElicitResult(action="accept", content={GO_AHEAD: '"one"' in params.message})

    asked: list[str] = []
    both = anyio.Event()
    with anyio.fail_after(LIMIT):
        async with connect(elicitation_callback=only_one) as client, anyio.create_task_group() as tasks:
            for title in ("one", "two"):
                tasks.start_soon(client.call_tool, "notes__delete_note", {"title": title})
    assert not (folder / "one.txt").exists()
    assert (folder / "two.txt").exists()


async def test_find_tools_lists_schemas_best_first(connect: Connect) -> None:
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            result = await client.call_tool("find_tools", {"query": "delete a note", "limit": 2})
    found = result.structured_content["tools"]
    assert len(found) == 2
    assert found[0]["name"] == "delete_note" and found[0]["inputSchema"]["required"] == ["title"]


async def test_a_servers_tool_answers_through_us_as_it_answers_directly(connect: Connect, folder: Path) -> None:
    (folder / "seen.txt").write_text("hello #tag", encoding="utf-8")
    from mcp import StdioServerParameters  # noqa: PLC0415

    direct = StdioServerParameters(command=sys.executable, args=[str(NOTES), str(folder)])
    calls = (("read_note", {"title": "seen"}), ("search_notes", {"query": "hello"}), ("read_note", {"title": "gone"}))
    with anyio.fail_after(LIMIT):
        async with Client(direct, mode="legacy") as straight, connect() as through:
            for name, arguments in calls:
                expected = await straight.call_tool(name, arguments)
                found = await through.call_tool(f"notes__{name}", arguments)
                assert found.content == expected.content
                assert found.structured_content == expected.structured_content
                assert found.is_error == expected.is_error


async def test_wrong_calls_are_told_apart(connect: Connect) -> None:
    """An unknown tool is the protocol's business, wrong arguments are the calling model's."""
    with anyio.fail_after(LIMIT):
        async with connect() as client:
            for name in ("fly", "notes__fly", "call_tool"):
                with pytest.raises(MCPError) as caught:
                    await client.call_tool(name, {})
                assert caught.value.error.code == mcp_types.INVALID_PARAMS
            for arguments in ({}, {"request": 3}, {"request": "x", "fast": True}, {"request": ""}, {"request": "  "}):
                result = await client.call_tool("plan", arguments)
                assert result.is_error and result.structured_content["error"]["type"] == "RequestError"
            result = await client.call_tool("plan", {"request": "x", "servers": ["notez"]})
            assert result.is_error and "notes" in result.content[0].text
            long = await client.call_tool("do", {"request": "x" * 100_000})
            assert long.is_error and "20,000" in long.content[0].text


async def test_the_state_of_a_question_cannot_be_forged_or_moved(
    server: Any, engine: NamingEngine, folder: Path
) -> None:
    (folder / "kept.txt").write_text("x", encoding="utf-8")
    wanted = {"title": "kept"}
    yes = {"answer": mcp_types.ElicitResult(action="accept", content={GO_AHEAD: True})}
    callback, _ = answering()
    with anyio.fail_after(LIMIT):
        async with Client(server, mode="auto", elicitation_callback=callback) as client:
            call = client.session.call_tool
            asked = await call("notes__delete_note", wanted, allow_input_required=True)
            assert isinstance(asked, mcp_types.InputRequiredResult)
            state = asked.request_state
            for moved in (("notes__delete_note", {"title": "other"}), ("notes__read_note", wanted)):
                with pytest.raises(MCPError):
                    await call(*moved, request_state=state, input_responses=yes, allow_input_required=True)
            with pytest.raises(MCPError):
                await call("notes__delete_note", wanted, request_state="v1.forged", input_responses=yes)
            assert (folder / "kept.txt").exists()
            done = await call("notes__delete_note", wanted, request_state=state, input_responses=yes)
            assert done.is_error is False and not (folder / "kept.txt").exists()
            with pytest.raises(MCPError):
                await call("notes__delete_note", wanted, request_state=state, input_responses=yes)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_cancelling_a_request_cancels_the_call_behind_it(mode: Any, engine: NamingEngine, tmp_path: Path) -> None:
    record = tmp_path / "record"
    waiting = ServerConfig(
        "waiting", "stdio", command=sys.executable, args=(str(WAITING), str(record)), options=PATIENT
    )
    engine.choices = [{"waiting": 1.0}, {"wait": 1.0}]
    callback, _ = answering()

    async def until(state: str) -> None:
        # Another process writes the file: looking again is the only way to know.
        while not record.exists() or record.read_text(encoding="utf-8") != state:  # noqa: ASYNC110
            await anyio.sleep(0.02)

    with anyio.fail_after(2 * LIMIT):
        async with (
            Gateway(Config((waiting,), settings(tmp_path)), pipeline=alone(engine)) as gateway,
            Client(build_server(gateway), mode=mode, elicitation_callback=callback) as client,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "do", {"request": "wait for me"})
                await until("started")
                tasks.cancel_scope.cancel()
            await until("cancelled")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_found_tools_are_shown_from_then_on(mode: Any, gateway: Gateway) -> None:
    told = anyio.Event()

    async def message(message: Any) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            told.set()

    selected = _Selected(gateway)
    with anyio.fail_after(LIMIT):
        async with Client(build_server(selected), mode=mode, message_handler=message) as client:
            before = {tool.name for tool in (await client.list_tools()).tools}
            await client.call_tool("find_tools", {"query": "delete a note", "limit": 1})
            if mode == "legacy":
                await told.wait()
            after = {tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools}
    assert after - before == {"notes__delete_note"}


class _Selected:
    """The module's gateway under a config that shows selected tools only."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.config = Config(gateway.config.servers, Settings(expose="selected"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)


async def test_the_handshake_does_not_wait_for_the_model_or_the_servers(tmp_path: Path) -> None:
    release = threading.Event()
    slow = ServerConfig("slow", "stdio", command=sys.executable, args=("-c", "import time; time.sleep(600)"))

    class Loading(Gateway):
        def _load(self) -> Any:
            release.wait(2 * LIMIT)
            raise AssertionError("no request was made, so nobody sees this")

    try:
        with anyio.fail_after(LIMIT):
            async with Loading(Config((slow,))) as gateway, Client(build_server(gateway), mode="legacy") as client:
                assert len((await client.list_tools()).tools) == 3
                release.set()
    finally:
        release.set()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_tool_that_waits_for_approval_is_not_listed_and_says_so_when_called(mode: Any, tmp_path: Path) -> None:
    file, audit = tmp_path / "offered.json", tmp_path / "audit.jsonl"
    arguments = (str(LISTING), str(file))
    server = ServerConfig("files", "stdio", command=sys.executable, args=arguments, options=PATIENT)
    own = settings(tmp_path, expose="all", state=tmp_path / "state", audit=AuditSettings(audit))
    shown = []
    with anyio.fail_after(LIMIT):
        for words in ("Reads.", "Reads\u202e it all."):
            tools = [
                {"name": name, "description": words, "inputSchema": {"type": "object"}} for name in ("read", "a b")
            ]
            file.write_text(json.dumps({"tools": tools[: 2 if words != "Reads." else 1]}), encoding="utf-8")
            async with (
                Gateway(Config((server,), own), pipeline=alone(None)) as gateway,
                Client(build_server(gateway), mode=mode) as client,
            ):
                found = await client.call_tool("find_tools", {"query": "read"})
                shown.append([tool["name"] for tool in found.structured_content["tools"]])
                names = [tool.name for tool in (await client.list_tools()).tools]
                assert ("files__read" in names) is (words == "Reads.")
                result = await client.call_tool("files__read", {})
                assert result.is_error is (words != "Reads.")
                if result.is_error:
                    assert "has changed" in result.content[0].text and "pins approve" in result.content[0].text
                    held = await client.call_tool("files__a_b", {})
                    assert held.is_error and "is new" in held.content[0].text
                with pytest.raises(MCPError):
                    await client.call_tool("files__nothing", {})
    assert shown == [["read"], []]
    lines = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["tool"]) for line in lines] == [
        ("call", "read"),
        ("refusal", "read"),
        ("refusal", "a b"),
    ]
    assert {(line["door"], line["client"]) for line in lines} == {("stdio", "mcp 0.1.0")}
