"""Several servers together: what one does must not matter to the others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream import keeper as keeper_module
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.errors import ServerTimeout, ServerUnavailable
from tests.downstream.servers import Watcher, notes, unruly

pytestmark = pytest.mark.anyio


async def test_bad_servers_cost_only_themselves(tmp_path: Path) -> None:
    servers = [
        unruly("dead", name="dead"),
        unruly("flood", name="flood"),
        unruly("slow", "60", name="slow", start=3),
        unruly("silent", name="silent", start=3),
        ServerConfig("missing", "stdio", command="no-such-program"),
        ServerConfig("refused", "http", url="http://127.0.0.1:9/mcp"),
        notes(tmp_path),
    ]
    async with Pool(servers) as pool:
        await pool.wait(90, ["notes"])
        assert not (await pool.call("notes", "list_notes", {})).is_error
        await pool.wait(90)
        states = {state.name: state for state in pool.states()}
        assert list(states) == [server.name for server in servers]
        assert (states["notes"].status, states["notes"].tools, states["notes"].error) == ("ready", 6, None)
        assert states["notes"].pid is not None
        assert pool.instructions("notes")
        for name in ("dead", "flood", "slow", "silent", "missing", "refused"):
            assert states[name].error is not None, name
            assert pool.tools(name) == ()
        assert isinstance(states["silent"].error, ServerTimeout)
        with pytest.raises(ServerUnavailable, match="no licence found"):
            await pool.call("dead", "echo", {})
    assert {state.status for state in pool.states()} == {"closed"}


async def test_a_killed_server_comes_back_and_the_others_do_not_notice(tmp_path: Path) -> None:
    watcher = Watcher()
    async with Pool([unruly(name="a"), notes(tmp_path)], watcher) as pool:
        await pool.wait(90)
        before = {state.name: state.pid for state in pool.states()}
        os.kill(before["a"] or 0, signal.SIGKILL)
        down = await watcher.until(pool, "a", lambda state: state.status == "waiting")
        assert "signal 9" in str(down.error)
        # The call waits for the server that is just coming back.
        assert (await pool.call("a", "echo", {"text": "again"})).text == "again"
        after = {state.name: state for state in pool.states()}
        assert (after["a"].restarts, after["notes"].restarts) == (1, 0)
        assert after["a"].pid != before["a"]
        assert after["notes"].pid == before["notes"]


async def test_a_call_that_loses_its_server_is_not_repeated() -> None:
    async with Pool([unruly("crash")]) as pool:
        await pool.wait(90)
        with pytest.raises(ServerUnavailable, match="lost during"):
            await pool.call("unruly", "echo", {"text": "x"})


async def test_pauses_grow_while_a_server_keeps_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(keeper_module, "LONGEST_PAUSE", 0.05)
    watcher = Watcher()
    async with Pool([unruly("dead")], watcher) as pool:
        state = await watcher.until(pool, "unruly", lambda state: state.restarts >= 3)
        assert state.error is not None


async def test_a_changed_tool_list_is_told_and_served() -> None:
    watcher = Watcher()
    async with Pool([unruly("changing")], watcher) as pool:
        await pool.wait(90)
        assert len(pool.tools("unruly")) == 1
        await pool.call("unruly", "echo", {"text": "x"})
        await watcher.until(pool, "unruly", lambda state: state.tools == 2)


async def test_calls_to_one_server_run_side_by_side(tmp_path: Path) -> None:
    async with Pool([unruly("hang"), notes(tmp_path)]) as pool, anyio.create_task_group() as group:
        await pool.wait(90)
        group.start_soon(pool.call, "unruly", "echo", {"text": "never"})
        with anyio.fail_after(60):
            assert not (await pool.call("notes", "list_notes", {})).is_error
        group.cancel_scope.cancel()


async def test_closing_is_bounded_even_with_stubborn_servers() -> None:
    async with Pool([unruly("stubborn", name=f"s{i}") for i in range(3)]) as pool:
        await pool.wait(90)
        assert [state.status for state in pool.states()] == ["ready"] * 3
        with anyio.fail_after(40):
            await pool.close()
        assert {state.pid for state in pool.states()} == {None}


async def test_cancelling_the_owner_ends_the_pool() -> None:
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            pool = Pool([unruly()])

            async def own() -> None:
                async with pool:
                    await pool.wait(90)
                    group.cancel_scope.cancel()
                    await anyio.sleep_forever()

            group.start_soon(own)
    assert pool.states()[0].status == "closed"


async def test_an_unknown_server_names_the_known_ones() -> None:
    async with Pool([]) as pool:
        with pytest.raises(ServerUnavailable, match="Configured: none") as caught:
            await pool.call("x", "y", {})
    assert not caught.value.retryable
