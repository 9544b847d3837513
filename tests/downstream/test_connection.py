"""One connection to real processes, well behaved and otherwise."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import anyio
import pytest
from mcp import ClientSession
from mcp.client import session as session_module

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream import listing as listing_module
from mcp_dualtune.downstream import stdio
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.errors import DownstreamError, ProtocolError, ServerTimeout, ServerUnavailable
from tests.downstream.servers import connected, notes, unruly

pytestmark = pytest.mark.anyio


async def failure(config: ServerConfig) -> DownstreamError:
    """How a connection that cannot be opened fails."""
    with anyio.fail_after(90), pytest.raises(DownstreamError) as caught:
        await Connection(config).run()
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(("mode", "protocol"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_both_protocol_eras_list_and_call(tmp_path: Path, mode: str, protocol: str) -> None:
    async with connected(notes(tmp_path, mode=mode)) as server:
        assert server.protocol == protocol
        assert server.instructions is not None
        assert [tool["name"] for tool in server.tools][:3] == ["add_note", "append_to_note", "read_note"]
        written = await server.call("add_note", {"title": "a", "text": "buy milk", "tags": ["home"]})
        assert (written.text, written.is_error) == ("Wrote 'a'.", False)
        listed = await server.call("list_notes", {})
        assert listed.structured["result"][0]["tags"] == ["home"]
        assert listed.meta is None


async def test_a_failing_tool_is_a_result(tmp_path: Path) -> None:
    async with connected(notes(tmp_path)) as server:
        result = await server.call("read_note", {"title": "nothing"})
        assert result.is_error
        assert "There is no note" in result.text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_progress_reaches_the_caller(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    seen: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total))

    async with connected(notes(tmp_path, mode=mode)) as server:
        await server.call("search_notes", {"query": "x"}, progress=progress)
    assert sorted(seen) == [(1.0, 2.0), (2.0, 2.0)]


async def test_a_modern_only_server_is_reached_from_legacy_mode() -> None:
    async with connected(unruly("modern-only")) as server:
        assert server.protocol == "2026-07-28"
        assert (await server.call("echo", {"text": "hi"})).text == "hi"


async def test_auto_mode_falls_back_to_the_handshake() -> None:
    async with connected(unruly(mode="auto")) as server:
        assert server.protocol == "2025-11-25"


async def test_every_page_of_tools_is_read() -> None:
    async with connected(unruly("pages", "5")) as server:
        assert [tool["name"] for tool in server.tools] == [f"echo_{page}" for page in range(5)]


async def test_an_endless_list_of_tools_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "MAX_PAGES", 7)
    async with connected(unruly("endless-pages")) as server:
        assert len(server.tools) == 7


@pytest.mark.parametrize("mode", ["invalid-tool", "empty-schema"])
async def test_one_bad_tool_does_not_cost_the_others(mode: str) -> None:
    async with connected(unruly(mode)) as server:
        assert server.tools[0]["name"] == "echo"
        assert len(server.tools) > 1
        assert (await server.call("echo", {"text": "still here"})).text == "still here"


async def test_unknown_fields_and_blocks_arrive_untouched() -> None:
    async with connected(unruly("vendor")) as server:
        assert server.tools[0]["x-vendor"] == {"cost": 3}
        result = await server.call("echo", {"text": "hi"})
    assert result.content == (
        {"type": "text", "text": "hi", "x-vendor": 1},
        {"type": "hologram", "data": [1, 2]},
    )
    assert result.structured == {"deep": {"x": None}}
    assert result.meta == {"vendor/cost": 3}


async def test_structured_content_against_its_schema_keeps_the_result() -> None:
    async with connected(unruly("false-result")) as server:
        result = await server.call("pair", {"text": "done"})
    assert (result.text, result.structured, result.is_error) == ("done", {"left": "not a number"}, False)


async def test_what_is_no_result_is_a_protocol_error_that_warns_of_repeating() -> None:
    async with connected(unruly("no-result")) as server:
        with pytest.raises(ProtocolError, match="not a tool result") as caught:
            await server.call("echo", {"text": "x"})
    assert "twice" in caught.value.hint
    assert not caught.value.retryable


async def test_a_json_rpc_error_keeps_code_and_data() -> None:
    async with connected(unruly("error")) as server:
        with pytest.raises(ProtocolError, match="out of paper") as caught:
            await server.call("echo", {"text": "x"})
    assert (caught.value.code, caught.value.data) == (-31999, {"tray": 2})


async def test_a_call_without_answer_times_out_and_the_connection_lives() -> None:
    async with connected(unruly("hang")) as server:
        with pytest.raises(ServerTimeout, match=r"within 0\.3 s"):
            await server.call("echo", {"text": "x"}, timeout=0.3)
        assert not server.ended.is_set()


async def test_cancelling_the_caller_reaches_the_server() -> None:
    async with connected(unruly("hang")) as server:
        with anyio.move_on_after(0.3) as scope:
            await server.call("echo", {"text": "x"})
        assert scope.cancelled_caught
        with anyio.fail_after(10):
            while "cancelled" not in server._link.account():  # noqa: ASYNC110 - the server's stderr has no event
                await anyio.sleep(0.02)


async def test_a_crash_during_a_call_says_how_the_server_ended() -> None:
    async with anyio.create_task_group() as group:
        server = Connection(unruly("crash"))

        async def own() -> None:
            with pytest.raises(ServerUnavailable, match="ended the connection"):
                await server.run()

        group.start_soon(own)
        with anyio.fail_after(90):
            await server.ready.wait()
            with pytest.raises(ServerUnavailable, match=r"status 7.*about to fall over") as caught:
                await server.call("echo", {"text": "x"})
            assert "may or may not" in caught.value.hint
            with pytest.raises(ServerUnavailable, match="not connected"):
                await server.call("echo", {"text": "x"})


async def test_nonsense_between_messages_is_passed_over() -> None:
    async with connected(unruly("garbage")) as server:
        assert (await server.call("echo", {"text": "hi"})).text == "hi"
        assert "Welcome!" in server._link.account()


async def test_a_result_of_50_megabytes_arrives_whole() -> None:
    async with connected(unruly("big", "50")) as server:
        result = await server.call("echo", {"text": "x"})
    assert len(result.text) == 50_000_000


async def test_a_message_beyond_the_limit_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 2 * 1024 * 1024)
    async with anyio.create_task_group() as group:
        server = Connection(unruly("big", "5"))

        async def own() -> None:
            with pytest.raises(ServerUnavailable):
                await server.run()

        group.start_soon(own)
        with anyio.fail_after(90):
            await server.ready.wait()
            with pytest.raises(ServerUnavailable, match="more than 2 MiB"):
                await server.call("echo", {"text": "x"})


async def test_a_server_that_ends_at_once_says_why() -> None:
    error = await failure(unruly("dead"))
    assert isinstance(error, ServerUnavailable)
    assert "status 3" in error.message
    assert "no licence found" in error.message


async def test_a_missing_command_names_it() -> None:
    error = await failure(ServerConfig("x", "stdio", command="no-such-program"))
    assert "no-such-program: No such file" in error.message
    assert '"command"' in error.hint


async def test_a_missing_working_directory_names_it(tmp_path: Path) -> None:
    error = await failure(ServerConfig("x", "stdio", command="cat", cwd=tmp_path / "gone"))
    assert "gone does not exist" in error.message


async def test_a_slow_start_is_a_timeout() -> None:
    started = time.monotonic()
    error = await failure(unruly("slow", "60", start=0.5))
    assert isinstance(error, ServerTimeout)
    assert time.monotonic() - started < 20


async def test_a_start_that_is_given_up_halfway_leaves_nothing_open() -> None:
    """Whatever is left open warns when it is collected, and a warning fails the test."""
    for turns in range(10):
        with anyio.fail_after(90):
            async with anyio.create_task_group() as group:
                group.start_soon(Connection(unruly()).run)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
    gc.collect()


@pytest.mark.parametrize("mode", ["flood", "endless-line"])
async def test_a_flood_of_nonsense_ends_the_connection(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 8 * 1024 * 1024)
    error = await failure(unruly(mode))
    assert "not MCP" in error.message or "more than 8 MiB" in error.message


async def test_an_announced_change_of_tools_is_read_and_told() -> None:
    told = anyio.Event()
    server = Connection(unruly("changing"), told.set)
    async with anyio.create_task_group() as group:
        group.start_soon(server.run)
        with anyio.fail_after(90):
            await server.ready.wait()
            await server.call("echo", {"text": "x"})
            await told.wait()
        assert [tool["name"] for tool in server.tools] == ["echo", "echo_2"]
        server.stop()


async def test_the_environment_of_a_server_holds_only_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    script = "import os,sys; sys.stderr.write(' '.join(sorted(os.environ)))"
    config = ServerConfig("x", "stdio", command="python3", args=("-c", script), env={"GIVEN": "1"})
    words = (await failure(config)).message
    assert "GIVEN" in words
    assert "SECRET_OF_OURS" not in words


async def test_a_server_too_slow_for_the_probe_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer to the probe comes too late; by then it has settled on the stateless protocol."""
    monkeypatch.setattr(session_module, "DISCOVER_TIMEOUT_SECONDS", 0.001)
    asked: list[float] = []
    original = ClientSession.initialize

    async def initialize(self: ClientSession) -> object:
        asked.append(session_module.DISCOVER_TIMEOUT_SECONDS)
        monkeypatch.setattr(session_module, "DISCOVER_TIMEOUT_SECONDS", 60)
        return await original(self)

    monkeypatch.setattr(ClientSession, "initialize", initialize)
    async with connected(unruly("modern-only", mode="auto")) as server:
        assert server.protocol == "2026-07-28"
    assert asked == [0.001]
