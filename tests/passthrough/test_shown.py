"""What is shown of several servers, in which order, and when."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import anyio
import mcp.types as t
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import Config, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server import passthrough
from mcp_dualtune.mcp_server.server import build_server
from mcp_dualtune.mcp_server.shelf import Shelf, alias
from mcp_dualtune.security.pin_file import PinFiles, identity_of
from mcp_dualtune.security.pins import approve
from mcp_dualtune.types import Offer
from tests.downstream.servers import unruly
from tests.passthrough.conftest import ERAS, FIXTURE, START_LIMIT, bounded, gateway_to

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def fixture(name: str, **options: Any) -> ServerConfig:
    return ServerConfig(
        name,
        "stdio",
        command=sys.executable,
        args=(str(FIXTURE),),
        options=ServerOptions(**{"start_timeout": START_LIMIT, **options}),
    )


def offer(server: str, *uris: str, templates: tuple[str, ...] = ()) -> Offer:
    return Offer(
        server,
        capabilities=frozenset({"resources"}),
        resources=tuple({"uri": uri, "name": uri} for uri in uris),
        templates=tuple({"uriTemplate": template, "name": template} for template in templates),
    )


def test_an_address_of_two_servers_stays_with_the_first_and_is_lengthened_for_the_second() -> None:
    shelf = Shelf([offer("a", "x://1", "x://2"), offer("b server", "x://2", "x://3")])
    assert [entry["uri"] for entry in shelf.resources] == ["x://1", "x://2", "dualtune://b%20server/x://2", "x://3"]
    assert shelf.find("x://2") == (("a", "x://2"),)
    assert shelf.find(alias("b server", "x://2")) == (("b server", "x://2"),)
    assert shelf.find(alias("a", "x://1?q=1#f")) == (("a", "x://1?q=1#f"),)


def test_an_unlisted_address_goes_to_whose_template_fits_and_else_to_everybody() -> None:
    shelf = Shelf([offer("a"), offer("b", templates=("item://{id}",)), offer("c", templates=("item://{id}",))])
    assert shelf.find("item://7") == (("b", "item://7"), ("c", "item://7"))
    assert [server for server, _ in shelf.find("other://7")] == ["a", "b", "c"]
    assert shelf.find(alias("c", "item://7")) == (("c", "item://7"),)
    assert shelf.find(alias("nobody", "item://7"))[0][0] == "a"


def test_what_no_client_can_read_is_left_out_alone() -> None:
    broken = Offer(
        "a", prompts=({"name": "fine"}, {"name": 7}), resources=({"uri": "x://1"}, {"uri": "x://2", "name": "n"})
    )
    shelf = Shelf([broken])
    assert [entry["name"] for entry in shelf.prompts] == ["a__fine"]
    assert [entry["uri"] for entry in shelf.resources] == ["x://2"]


@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_two_servers_of_a_kind_are_told_apart(mode: Any) -> None:
    async with (
        gateway_to(fixture("one"), fixture("two", prefix="second-")) as gateway,
        Client(build_server(gateway), mode=mode) as client,
    ):
        names = [tool.name for tool in (await client.list_tools()).tools]
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
        second = await client.read_resource("dualtune://two/fixture://a")
        known = "Use echo to hear yourself."
        assert (client.instructions or "").count(known) == 2
    assert "one__echo" in names and "second-echo" in names and names.index("one__big") < names.index("second-echo")
    assert prompts == ["one__greet", "second-greet"]
    assert uris == [
        *("fixture://a", "fixture://b"),
        *("dualtune://two/fixture://a", "dualtune://two/fixture://b"),
    ]
    assert second.contents[0].text == "text of fixture://a"  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_nothing_of_the_servers_is_shown_unless_the_config_says_so(mode: Any) -> None:
    async with (
        gateway_to(fixture("one"), expose="none") as gateway,
        Client(build_server(gateway), mode=mode) as client,
    ):
        assert client.server_capabilities.resources is None and client.server_capabilities.prompts is None
        assert "echo" not in (client.instructions or "")
        assert len((await client.list_tools()).tools) == 3
        with pytest.raises(MCPError):
            await client.list_resources()


@bounded
async def test_resources_and_prompts_follow_the_tools_that_were_selected() -> None:
    async with (
        gateway_to(fixture("one"), expose="selected") as gateway,
        Client(build_server(gateway), mode="legacy") as client,
    ):
        assert (await client.list_prompts()).prompts == []
        await client.call_tool("find_tools", {"query": "echo", "limit": 1})
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["one__greet"]
        assert len((await client.list_resources()).resources) == 2


@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_lists_do_not_wait_for_a_dead_or_a_hanging_server_after_the_start(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passthrough, "START_PATIENCE", 0.2)
    servers = (unruly("dead", name="dead"), unruly("silent", name="hanging"), unruly("hang", name="fine"))
    async with Gateway(Config(servers, Settings(expose="all")), pipeline=cast(Any, lambda: None)) as gateway:
        with anyio.fail_after(START_LIMIT):
            await gateway.wait_ready(("fine",))
        async with Client(build_server(gateway), mode=mode) as client:
            await client.list_tools()
            took = []
            for _ in range(20):
                began = time.perf_counter()
                tools = (await client.list_tools(cache_mode="refresh")).tools
                await client.list_prompts(cache_mode="refresh")
                took.append(time.perf_counter() - began)
    assert "fine__echo" in {tool.name for tool in tools}
    assert min(took) < 0.1


@bounded
async def test_a_server_that_is_late_is_announced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(passthrough, "START_PATIENCE", 0.0)
    told = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, t.ResourceListChangedNotification):
            told.set()

    config = Config((fixture("late"),), Settings(expose="all"))
    async with (
        Gateway(config, pipeline=cast(Any, lambda: None)) as gateway,
        Client(build_server(gateway), mode="legacy", message_handler=hear) as client,
    ):
        if not (await client.list_resources()).resources:
            await told.wait()
        assert len((await client.list_resources()).resources) == 2


async def test_a_prompt_that_came_later_is_not_shown_until_it_is_approved(tmp_path: Path) -> None:
    server = fixture("fixture")

    async def shown(client: Client) -> list[str]:
        return [prompt.name for prompt in (await client.list_prompts()).prompts]

    with anyio.fail_after(START_LIMIT):
        async with (
            gateway_to(server, state=tmp_path) as gateway,
            Client(build_server(gateway), mode="legacy") as client,
        ):
            assert await shown(client) == ["fixture__greet"]
        changed = anyio.Event()
        async with (
            gateway_to(server, state=tmp_path) as gateway,
            Client(build_server(gateway), mode="legacy") as client,
        ):
            gateway.changed.append(changed.set)
            await client.call_tool("fixture__grow", {})
            await changed.wait()
            assert await shown(client) == ["fixture__greet"]
            with pytest.raises(MCPError, match="Unknown prompt"):
                await client.get_prompt("fixture__extra0")
            files = PinFiles(tmp_path)
            known = files.load("fixture", identity_of(server))
            assert known is not None
            files.save(approve(known, ["(prompt) extra0"]))
            await gateway.wait_ready()
            assert await shown(client) == ["fixture__greet", "fixture__extra0"]
