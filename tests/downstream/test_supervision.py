"""Servers that fail again and again, fall silent, or forget us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.config import ServerConfig, ServerOptions
from mcp_dualtune.downstream import breaker as breaker_module
from mcp_dualtune.downstream import keeper as keeper_module
from mcp_dualtune.downstream.breaker import FAILURES_TO_OPEN
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.errors import ProtocolError, ServerTimeout, ServerUnavailable
from tests.downstream.servers import SERVERS, Watcher, chaotic, unruly

pytestmark = pytest.mark.anyio


async def hang(pool: Pool, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ServerTimeout):
            await pool.call("chaotic", "echo", {"text": "x", "fault": "hang"}, timeout=0.1)


async def test_calls_that_keep_failing_are_refused_at_once_with_the_time_of_the_next_try(tmp_path: Path) -> None:
    async with Pool([chaotic(tmp_path), chaotic(tmp_path / "b", "other")]) as pool:
        await pool.wait(90)
        await hang(pool, FAILURES_TO_OPEN)
        state = pool.state("chaotic")
        assert (state.status, state.circuit) == ("ready", "open")
        assert 0 < (state.retry_seconds or 0) <= breaker_module.FIRST_PAUSE * 1.25
        with pytest.raises(ServerUnavailable, match=r"3 failed in a row\. It is tried again in \d\.\d s\.") as caught:
            await pool.call("chaotic", "echo", {"text": "refused"})
        assert caught.value.retryable
        assert "refused" not in (tmp_path / "ledger").read_text(encoding="utf-8")
        assert (await pool.call("other", "echo", {"text": "fine"})).text == "fine"


async def test_a_call_that_works_closes_the_circuit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_module, "FIRST_PAUSE", 0.0)
    async with Pool([chaotic(tmp_path)]) as pool:
        await pool.wait(90)
        await hang(pool, FAILURES_TO_OPEN)
        assert pool.state("chaotic").error is not None
        assert (await pool.call("chaotic", "echo", {"text": "well again"})).text == "well again"
        state = pool.state("chaotic")
        assert (state.circuit, state.error) == ("closed", None)


async def test_errors_that_a_server_answers_with_open_nothing(tmp_path: Path) -> None:
    async with Pool([chaotic(tmp_path)]) as pool:
        await pool.wait(90)
        for _ in range(FAILURES_TO_OPEN + 1):
            with pytest.raises(ProtocolError, match="out of paper"):
                await pool.call("chaotic", "echo", {"text": "x", "fault": "error"})
        assert pool.state("chaotic").circuit == "closed"


async def test_starts_that_keep_failing_open_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE", 0.01)
    watcher = Watcher()
    async with Pool([unruly("dead")], watcher) as pool:
        state = await watcher.until(pool, "unruly", lambda state: state.restarts >= FAILURES_TO_OPEN - 1)
        assert state.circuit == "open"
        assert state.retry_seconds is not None
        with anyio.fail_after(5), pytest.raises(ServerUnavailable, match=r"tried again.*no licence found"):
            await pool.call("unruly", "echo", {})


async def test_a_server_that_hears_nothing_any_more_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "PING_SECONDS", 0.2)
    watcher = Watcher()
    async with Pool([chaotic(tmp_path)], watcher) as pool:
        await pool.wait(90)
        deaf = pool.state("chaotic").pid
        assert deaf is not None
        os.kill(deaf, signal.SIGSTOP)
        await hang(pool, FAILURES_TO_OPEN)
        state = await watcher.until(pool, "chaotic", lambda state: state.restarts == 1 and state.status == "ready")
        assert state.pid != deaf
        assert state.handshake_ms
        with pytest.raises(ProcessLookupError):
            os.kill(deaf, 0)


async def test_a_call_that_takes_long_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes many times as long as a server may be silent when nothing is asked of it."""
    monkeypatch.setattr(keeper_module, "PING_EVERY", 0.01)
    monkeypatch.setattr(keeper_module, "PING_SECONDS", 0.01)
    async with Pool([chaotic(tmp_path)]) as pool:
        await pool.wait(90)
        pid = pool.state("chaotic").pid or 0
        async with anyio.create_task_group() as group:

            async def wake() -> None:
                await anyio.sleep(0.5)  # the length of the silence is the point
                os.kill(pid, signal.SIGCONT)

            os.kill(pid, signal.SIGSTOP)
            group.start_soon(wake)
            assert (await pool.call("chaotic", "echo", {"text": "late"})).text == "late"
        assert pool.state("chaotic").pid == pid


@contextmanager
def web_server(folder: Path, transport: str, port: int) -> Iterator[None]:
    """The chaotic server as a process that listens on `port` before the block runs."""
    command = [sys.executable, "-I", "-S", str(SERVERS / "chaotic.py"), str(folder), "--transport", transport]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"listening" in process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def web_config(transport: str, port: int) -> ServerConfig:
    url = f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
    return ServerConfig("web", transport, url=url, options=ServerOptions(start_timeout=60))  # type: ignore[arg-type]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_restarted_remote_server_costs_one_call_at_most(tmp_path: Path, transport: str, port: int) -> None:
    async with Pool([web_config(transport, port)]) as pool:
        with web_server(tmp_path, transport, port):
            await pool.wait(90)
            assert (await pool.call("web", "echo", {"text": "first"})).text == "first"
        with web_server(tmp_path, transport, port):
            try:
                answer = (await pool.call("web", "echo", {"text": "second"})).text
            except ServerUnavailable as error:
                assert "lost during" in error.message and "check before repeating" in error.hint
                answer = "second"
            assert answer == "second"
            assert (await pool.call("web", "echo", {"text": "third"})).text == "third"
        calls = (tmp_path / "ledger").read_text(encoding="utf-8").split()
        assert sorted(set(calls)) == sorted(calls)


async def test_an_idle_remote_server_that_went_away_is_noticed_and_found_again(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "PING_EVERY", 0.05)
    watcher = Watcher()
    async with Pool([web_config("http", port)], watcher) as pool:
        with web_server(tmp_path, "http", port):
            await pool.wait(90)
        state = await watcher.until(pool, "web", lambda state: state.status == "waiting")
        assert state.error is not None
        with web_server(tmp_path, "http", port):
            await watcher.until(pool, "web", lambda state: state.status == "ready")
            assert (await pool.call("web", "echo", {"text": "again"})).text == "again"


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_waiting_for_a_server_that_went_away_costs_no_work(tmp_path: Path, transport: str, port: int) -> None:
    async with Pool([web_config(transport, port)]) as pool:
        with web_server(tmp_path, transport, port):
            await pool.wait(90)
        with pytest.raises(ServerUnavailable):
            await pool.call("web", "echo", {"text": "first"})
        began, worked = time.monotonic(), time.process_time()
        with pytest.raises(ServerUnavailable, match="is not available"):
            await pool.call("web", "echo", {"text": "second"})
        assert time.process_time() - worked < 0.5 * (time.monotonic() - began)
