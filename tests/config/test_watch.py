"""A config file that changes while it is followed."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.config import Config
from mcp_dualtune.config import watch as watch_module
from mcp_dualtune.config.watch import follow

pytestmark = pytest.mark.anyio
ONE, TWO = '{"mcpServers": {"a": {"command": "one"}}}', '{"mcpServers": {"a": {"command": "two"}}}'


class Taken:
    """The configs that were handed over, and a way to wait for the next one."""

    def __init__(self) -> None:
        self.commands: list[str | None] = []
        self.news = anyio.Event()

    def __call__(self, config: Config) -> None:
        self.commands.append(config.servers[0].command)
        self.news.set()

    async def next(self) -> None:
        with anyio.fail_after(30):
            await self.news.wait()
        self.news = anyio.Event()


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[Taken]:
    taken = Taken()
    async with anyio.create_task_group() as group:
        group.start_soon(follow, path, taken)
        yield taken
        group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 0.01)


class Refusals(logging.Handler):
    """Waits for log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.news = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.news.set()


async def test_the_file_is_read_at_the_start_and_after_a_change_of_the_same_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(ONE)
    stamp = file.stat().st_mtime_ns
    async with following(file) as taken:
        await taken.next()
        file.write_text(TWO)
        os.utime(file, ns=(stamp, stamp))
        await taken.next()
    assert taken.commands == ["one", "two"]


async def test_a_broken_file_is_refused_once_and_a_good_one_taken_again(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(ONE)
    refusals = Refusals()
    watch_module.logger.addHandler(refusals)
    try:
        async with following(file) as taken:
            await taken.next()
            file.write_text('{"mcpServers": {"a": {"comand": "two"}}}')
            with anyio.fail_after(30):
                await refusals.news.wait()
            file.write_text(TWO)
            await taken.next()
    finally:
        watch_module.logger.removeHandler(refusals)
    assert taken.commands == ["one", "two"]
    (line,) = refusals.lines
    assert "the one before it stays in use" in line
    assert str(file) in line and "neither a command nor a url" in line


async def test_a_file_that_is_replaced_or_comes_late_is_taken(tmp_path: Path) -> None:
    file, other = tmp_path / "config.json", tmp_path / "new.json"
    async with following(file) as taken:
        await anyio.wait_all_tasks_blocked()
        assert taken.commands == []
        file.write_text(ONE)
        await taken.next()
        other.write_text(TWO)
        other.replace(file)
        await taken.next()
    assert taken.commands == ["one", "two"]
