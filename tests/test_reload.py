"""A gateway whose config changes while it runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from mcp_dualtune.config import Config, PolicyRule, load_config
from mcp_dualtune.config import watch as watch_module
from mcp_dualtune.downstream import keeper as keeper_module
from mcp_dualtune.errors import CatalogError, PolicyError
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import Request
from tests.downstream.servers import SERVERS, begun

pytestmark = pytest.mark.anyio
NOTHING_DECIDED = cast(Callable[[], Pipeline], object)


class File:
    """A config file of chaotic servers, and the gateway that follows it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "config.json"

    def write(self, *names: str, env: str = "", broken: tuple[str, ...] = (), **own: Any) -> Config:
        """Name these servers; other text in `env` is another server."""

        def entry(name: str) -> dict[str, Any]:
            script = SERVERS / ("nowhere.py" if name in broken else "chaotic.py")
            args = ["-I", "-S", str(script), str(self.folder / name)]
            return {"command": sys.executable, "args": args, "env": {"CHAOS": env}}

        block = {**own, "servers": {name: {"start_timeout": 60, **own.get("servers", {})} for name in names}}
        self.path.write_text(json.dumps({"mcpServers": {name: entry(name) for name in names}, "dualtune": block}))
        return load_config(self.path)

    @asynccontextmanager
    async def gateway(self, *, follow: bool = True) -> AsyncIterator[Gateway]:
        with anyio.fail_after(90):
            async with Gateway(load_config(self.path), pipeline=NOTHING_DECIDED, follow=follow) as gateway:
                await gateway.wait_ready()
                yield gateway


async def until(gateway: Gateway, wanted: Callable[[], bool]) -> None:
    """Wait for a change of the catalog after which `wanted` holds."""
    while not wanted():
        changed = anyio.Event()
        gateway.changed.append(changed.set)
        if not wanted():
            await changed.wait()
        gateway.changed.remove(changed.set)


def served(gateway: Gateway) -> list[str]:
    return [server.name for server in gateway.catalog.servers]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> File:
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 0.05)
    return File(tmp_path)


async def test_servers_come_and_go_with_the_file(file: File) -> None:
    file.write("a", "b")
    async with file.gateway() as gateway:
        assert served(gateway) == ["a", "b"]
        file.write("b", "c")
        await until(gateway, lambda: served(gateway) == ["b", "c"])
        assert (await gateway.call("c", "echo", {"text": "new"})).text == "new"
        with pytest.raises(CatalogError, match="a"):
            await gateway.call("a", "echo", {"text": "old"})


async def test_a_call_under_way_survives_the_change_of_its_server(file: File) -> None:
    file.write("a")
    answers: list[str] = []
    async with file.gateway() as gateway, anyio.create_task_group() as group:

        async def call() -> None:
            answers.append((await gateway.call("a", "echo", {"text": "late", "fault": "late"})).text)

        group.start_soon(call)
        await begun(file.folder / "a", "late")
        changes = gateway.reload(file.write("a", env="another"))
        assert changes.restarted == ("a",)
        # Its tools stay in the catalog meanwhile: a call waits for the server instead of failing.
        assert (await gateway.call("a", "echo", {"text": "new"})).text == "new"
    assert answers == ["late"]


async def test_a_broken_file_changes_nothing_and_says_why(file: File, caplog: pytest.LogCaptureFixture) -> None:
    file.write("a")
    async with file.gateway() as gateway:
        file.path.write_text('{"mcpServers": {')
        while "refused" not in caplog.text:  # noqa: ASYNC110 - a log line has no event
            await anyio.sleep(0.02)
        assert "line 1, column" in caplog.text
        assert (await gateway.call("a", "echo", {"text": "still here"})).text == "still here"
        file.write("a", "b")
        await until(gateway, lambda: served(gateway) == ["a", "b"])


async def test_what_cannot_change_while_running_is_named(file: File, caplog: pytest.LogCaptureFixture) -> None:
    file.write("a")
    async with file.gateway(follow=False) as gateway:
        changed = file.write("a", expose="all", model={"threads": 1}, policy=[{"match": "a/*", "action": "deny"}])
        with caplog.at_level(logging.WARNING, "mcp_dualtune"):
            gateway.reload(changed)
        assert "Restart to use what changed in dualtune.model, dualtune.expose." in caplog.text
        assert gateway.config.settings.expose == "none"
        assert gateway.config.settings.policy == (PolicyRule("a/*", "deny"),)
        with pytest.raises(PolicyError):
            await gateway.call("a", "echo", {"text": "x"})


async def test_other_options_shape_the_catalog_at_once(file: File) -> None:
    file.write("a")
    async with file.gateway(follow=False) as gateway:
        pid = gateway.server_states()[0].pid
        changes = gateway.reload(file.write("a", servers={"deny": ["echo"]}))
        assert changes.adjusted == ("a",)
        assert gateway.catalog.tools == ()
        assert gateway.server_states()[0].pid == pid


async def test_tools_of_a_server_that_was_changed_for_a_broken_one_go_away(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE", 0.01)
    file.write("a", "b")
    async with file.gateway(follow=False) as gateway:
        gateway.reload(file.write("a", "b", broken=("b",)))
        assert served(gateway) == ["a", "b"]
        await until(gateway, lambda: served(gateway) == ["a"])
        gateway.reload(file.write("a", "b"))
        await until(gateway, lambda: served(gateway) == ["a", "b"])


async def test_a_new_secret_is_masked_in_the_trace(file: File) -> None:
    trace = file.folder / "trace.jsonl"
    file.write("a", trace={"file": str(trace)})
    async with file.gateway(follow=False) as gateway:
        text = file.path.read_text().replace('"CHAOS": ""', '"API_TOKEN": "open-sesame-now"')
        file.path.write_text(text)
        gateway.reload(load_config(file.path))
        with pytest.raises(AttributeError):
            await gateway.plan(Request("say open-sesame-now"))
    said = trace.read_text()
    assert "say [secret]" in said and "sesame" not in said
