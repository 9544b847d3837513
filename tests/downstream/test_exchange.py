"""Servers that come, go and change while others are called."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.downstream import keeper as keeper_module
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.errors import ServerTimeout, ServerUnavailable
from mcp_dualtune.types import ToolResult
from tests.downstream.servers import Watcher, begun, chaotic, unruly

pytestmark = pytest.mark.anyio
LATE = {"text": "late", "fault": "late"}


async def gone(pid: int | None) -> None:
    """Wait until there is no such process."""
    assert pid is not None
    with anyio.fail_after(60), pytest.raises(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            await anyio.sleep(0.02)


@pytest.mark.parametrize("change", ["removed", "changed"])
async def test_a_running_call_ends_before_its_server_does(tmp_path: Path, change: str) -> None:
    results: list[ToolResult] = []
    async with Pool([chaotic(tmp_path)]) as pool, anyio.create_task_group() as group:
        await pool.wait(90)
        pid = pool.state("chaotic").pid

        async def call() -> None:
            results.append(await pool.call("chaotic", "echo", LATE))

        group.start_soon(call)
        await begun(tmp_path, "late")
        pool.update([chaotic(tmp_path, env="another")] if change == "changed" else [])
        if change == "removed":
            with pytest.raises(ServerUnavailable, match="Configured: none"):
                await pool.call("chaotic", "echo", {"text": "too late"})
        else:
            assert (await pool.call("chaotic", "echo", {"text": "new"})).text == "new"
            assert pool.state("chaotic").pid != pid
        await gone(pid)
    assert [result.text for result in results] == ["late"]


async def test_a_call_that_does_not_end_is_not_waited_for_beyond_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "TIMEOUT_GRACE", 0.0)
    async with Pool([chaotic(tmp_path, call=0.2)]) as pool, anyio.create_task_group() as group:
        await pool.wait(90)

        async def call() -> None:
            with pytest.raises(ServerUnavailable, match="lost during"):
                await pool.call("chaotic", "echo", {"text": "never", "fault": "hang"}, timeout=600)

        group.start_soon(call)
        await begun(tmp_path, "never")
        pool.update([])


async def test_only_what_changed_is_started_again(tmp_path: Path) -> None:
    watcher = Watcher()
    before = [chaotic(tmp_path / name, name) for name in ("a", "b", "c")]
    async with Pool(before, watcher) as pool:
        await pool.wait(90)
        pids = {state.name: state.pid for state in pool.states()}
        pool.update([before[1], chaotic(tmp_path / "a", "a", env="another"), chaotic(tmp_path / "d", "d")])
        assert [state.name for state in pool.states()] == ["b", "a", "d"]
        await pool.wait(90)
        after = {state.name: state for state in pool.states()}
        assert after["b"].pid == pids["b"]
        assert after["a"].pid != pids["a"]
        assert after["d"].status == "ready"
        for name in ("a", "c"):
            await gone(pids[name])


async def test_other_options_apply_without_a_restart(tmp_path: Path) -> None:
    config = chaotic(tmp_path)
    async with Pool([config]) as pool:
        await pool.wait(90)
        pid = pool.state("chaotic").pid
        pool.update([replace(config, options=replace(config.options, call_timeout=0.1))])
        with pytest.raises(ServerTimeout, match=r"within 0\.1 s"):
            await pool.call("chaotic", "echo", {"text": "x", "fault": "hang"})
        assert pool.state("chaotic").pid == pid


async def test_a_call_that_waits_for_a_server_gets_the_one_that_takes_its_place(tmp_path: Path) -> None:
    async with Pool([unruly("silent", name="chaotic")]) as pool, anyio.create_task_group() as group:
        answers: list[str] = []

        async def call() -> None:
            answers.append((await pool.call("chaotic", "echo", {"text": "patient"})).text)

        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        pool.update([chaotic(tmp_path)])
    assert answers == ["patient"]


async def test_closing_ends_servers_that_were_on_their_way_out(tmp_path: Path) -> None:
    async with Pool([unruly("hang", name="a")]) as pool, anyio.create_task_group() as group:
        await pool.wait(90)
        pid = pool.state("a").pid
        group.start_soon(pool.call, "a", "echo", {"text": "never"})
        await anyio.wait_all_tasks_blocked()
        pool.update([])
        group.cancel_scope.cancel()
    await gone(pid)
