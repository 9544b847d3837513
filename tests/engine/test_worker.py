"""The engine's thread: order, cancellation, limits and closing."""

from __future__ import annotations

import threading
from threading import Event
from typing import Any

import anyio
import pytest

from mcp_dualtune.engine.base import Engine
from mcp_dualtune.engine.scripted import ScriptedEngine
from mcp_dualtune.engine.worker import EngineWorker
from mcp_dualtune.errors import Cancelled, EngineError, ModelLoadError

pytestmark = pytest.mark.anyio
LIMIT = 20
"""Seconds until a hanging test fails."""


class Work:
    """Blocking work that tells when it started and ended, and ends when it is cancelled or let go."""

    def __init__(self) -> None:
        self.started = Event()
        self.go = Event()
        self.ended = Event()
        self.was_cancelled = False

    def __call__(self, engine: Engine, cancel: Event) -> str:
        self.started.set()
        while not self.go.wait(0.001):
            if cancel.is_set():
                self.was_cancelled = True
                self.ended.set()
                raise Cancelled("stopped")
        self.ended.set()
        return "done"


async def until(event: Event) -> None:
    with anyio.fail_after(LIMIT):
        assert await anyio.to_thread.run_sync(event.wait, LIMIT)


def echo(engine: Engine, cancel: Event, *args: Any) -> Any:
    return (engine, threading.current_thread().name, *args)


async def test_work_runs_in_one_thread_with_its_arguments() -> None:
    engine = ScriptedEngine([])
    worker = EngineWorker(lambda: engine)
    worker.start()
    with anyio.fail_after(LIMIT):
        results = [await worker.run(echo, 1, "two") for _ in range(2)]
    assert results == [(engine, "dualtune-engine", 1, "two")] * 2
    assert worker.ready
    await worker.aclose()
    assert worker.state == "closed"


async def test_start_returns_while_the_model_loads_and_work_waits_for_it() -> None:
    loading = Event()

    def build() -> Engine:
        assert loading.wait(LIMIT)
        return ScriptedEngine([])

    worker = EngineWorker(build)
    worker.start()
    assert worker.state == "loading"
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, echo)
            loading.set()
    assert worker.ready
    await worker.aclose()


@pytest.mark.parametrize("error", [ModelLoadError("no model", hint="get one"), ImportError("no torch")])
async def test_a_load_error_reaches_every_caller(error: Exception) -> None:
    def build() -> Engine:
        raise error

    worker = EngineWorker(build)
    worker.start()
    for _ in range(2):
        with anyio.fail_after(LIMIT), pytest.raises(ModelLoadError, match=str(error.args[0])):
            await worker.run(echo)
    assert worker.state == "failed"
    assert worker.error is not None
    assert worker.error.hint
    await worker.aclose()


async def test_cancelling_a_caller_frees_the_engine_for_the_next() -> None:
    worker, work = EngineWorker(lambda: ScriptedEngine([])), Work()
    worker.start()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, work)
            await until(work.started)
            group.cancel_scope.cancel()
        assert (await worker.run(echo, "next"))[2] == "next"
    assert work.was_cancelled
    await worker.aclose()


async def test_work_cancelled_in_the_queue_never_runs() -> None:
    worker, first, second = EngineWorker(lambda: ScriptedEngine([])), Work(), Work()
    worker.start()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, first)
            await until(first.started)
            with anyio.move_on_after(0.01):
                await worker.run(second)
            first.go.set()
        await worker.run(echo)
    assert not second.started.is_set()
    await worker.aclose()


async def test_errors_of_the_work_reach_the_caller_and_the_thread_lives_on() -> None:
    def fail(engine: Engine, cancel: Event) -> None:
        raise ZeroDivisionError("of the work")

    worker = EngineWorker(lambda: ScriptedEngine([]))
    worker.start()
    with anyio.fail_after(LIMIT):
        with pytest.raises(ZeroDivisionError):
            await worker.run(fail)
        assert (await worker.run(echo, 1))[2] == 1
    await worker.aclose()


async def test_a_full_queue_turns_work_away() -> None:
    worker, work = EngineWorker(lambda: ScriptedEngine([]), queue_size=1), Work()
    worker.start()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run, work)
            await until(work.started)
            group.start_soon(worker.run, echo)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(EngineError, match="wait for the model") as caught:
                await worker.run(echo)
            work.go.set()
    assert caught.value.retryable
    await worker.aclose()


async def test_work_beyond_the_time_limit_is_cancelled() -> None:
    worker, work = EngineWorker(lambda: ScriptedEngine([]), seconds=0.05), Work()
    worker.start()
    with anyio.fail_after(LIMIT), pytest.raises(EngineError, match="no answer within"):
        await worker.run(work)
    await worker.aclose()
    assert work.was_cancelled or not work.started.is_set()


async def test_closing_cancels_what_runs_and_what_waits() -> None:
    worker, work = EngineWorker(lambda: ScriptedEngine([])), Work()
    worker.start()
    outcomes: list[str] = []

    async def ask(job: Any) -> None:
        try:
            await worker.run(job)
        except Cancelled:
            outcomes.append("cancelled")

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(ask, work)
            await until(work.started)
            group.start_soon(ask, echo)
            await anyio.wait_all_tasks_blocked()
            await worker.aclose()
    assert outcomes == ["cancelled", "cancelled"]
    assert work.was_cancelled
    assert not any(thread.name == "dualtune-engine" and thread.is_alive() for thread in threading.enumerate())


async def test_a_worker_that_is_not_running_says_so() -> None:
    worker = EngineWorker(lambda: ScriptedEngine([]))
    with pytest.raises(EngineError, match="not running"):
        await worker.run(echo)
    await worker.aclose()
    with pytest.raises(EngineError, match="not running"):
        await worker.run(echo)
