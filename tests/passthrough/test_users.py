"""Who is asked: only clients that can be, and never somebody else than the user behind the call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import mcp.types as t
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import ServerConfig, ServerOptions
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.server import GatewayServer, build_server
from tests.passthrough.conftest import ERAS, START_LIMIT, User, bounded, entry, fixture_over, gateway_to, serve_app
from tests.passthrough.fixture_server import make_server

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@asynccontextmanager
async def serving(back_mode: str, **settings: Any) -> AsyncIterator[tuple[GatewayServer, Gateway]]:
    """The gateway in front of the fixture server over HTTP, where one process serves any number of sessions."""
    async with fixture_over("http") as url:
        options = ServerOptions(start_timeout=START_LIMIT, mode=back_mode)  # type: ignore[arg-type]
        async with gateway_to(ServerConfig(options=options, **entry("http", url)), **settings) as gateway:
            yield build_server(gateway), gateway


def ask(client: Client, who: str) -> Any:
    return client.call_tool("fixture__ask", {"who": who})


@pytest.mark.parametrize("back_mode", ERAS)
@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_questions_of_two_users_at_once_reach_each_his_own(mode: Any, back_mode: str) -> None:
    class Slow(User):
        async def elicit(self, context: Any, params: Any) -> t.ElicitResult:
            # Nobody answers before everybody was asked: order alone can decide nothing.
            self.asked.append(params)
            if sum(len(user.asked) for user in users) == len(users):
                everybody.set()
            await everybody.wait()
            return t.ElicitResult(action="accept", content={"name": self.name})

    users = [Slow(name=name) for name in ("Ana", "Bo", "Cy")]
    everybody = anyio.Event()
    answers: dict[str, Any] = {}

    async def use(server: GatewayServer, user: Slow) -> None:
        async with Client(server, mode=mode, elicitation_callback=user.elicit) as client:
            result = await ask(client, user.name)
            answers[user.name] = json.loads(result.content[0].text)["content"]["name"]

    async with serving(back_mode) as (server, _):
        # From its first question on, the gateway knows that this server asks.
        async with Client(server, mode=mode, elicitation_callback=User().elicit) as first:
            await ask(first, "first")
        async with anyio.create_task_group() as tasks:
            for user in users:
                tasks.start_soon(use, server, user)
    assert answers == {"Ana": "Ana", "Bo": "Bo", "Cy": "Cy"}
    assert [[question.message for question in user.asked] for user in users] == [
        ["Name of Ana?"],
        ["Name of Bo?"],
        ["Name of Cy?"],
    ]


@pytest.mark.parametrize("back_mode", ERAS)
@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_log_messages_of_calls_at_once_reach_each_his_own(mode: Any, back_mode: str) -> None:
    users = [User(name=name) for name in ("Ana", "Bo")]

    async def use(server: GatewayServer, user: User) -> None:
        level = "info" if mode == "auto" else None
        async with Client(server, mode=mode, logging_callback=user.log, log_level=level) as client:
            await client.call_tool("fixture__meet", {"who": user.name})

    async with serving(back_mode) as (server, _), anyio.create_task_group() as tasks:
        for user in users:
            tasks.start_soon(use, server, user)
    for user in users:
        assert [data for _, data, _ in user.logs] == [{"for": user.name, "number": number} for number in range(3)]


@pytest.mark.parametrize("back_mode", ERAS)
@bounded
async def test_connections_are_used_again(back_mode: Any) -> None:
    seen: list[Any] = []
    app = make_server().streamable_http_app()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get("client"))
        await app(scope, receive, send)

    async with serve_app(watched, "/mcp") as url:
        options = ServerOptions(start_timeout=START_LIMIT, mode=back_mode)
        async with gateway_to(ServerConfig(options=options, **entry("http", url))) as gateway:
            seen.clear()
            for number in range(20):
                await gateway.call("fixture", "echo", {"value": number})
    assert len(seen) >= 20
    # A pause of seconds, which a busy machine makes, ends an idle one.
    assert len(set(seen)) <= 6


@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_a_question_that_may_belong_to_two_users_is_put_to_neither(mode: Any, tmp_path: Path) -> None:
    one, other, record = User(), User(), tmp_path / "record"
    async with (
        serving("legacy") as (server, _),
        Client(server, mode=mode, elicitation_callback=one.elicit) as first,
        Client(server, mode=mode, elicitation_callback=other.elicit) as second,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(first.call_tool, "fixture__wait", {"record": str(record)})
        while not record.exists():  # noqa: ASYNC110 - written by the other call
            await anyio.sleep(0.01)
        with pytest.raises(MCPError, match="cannot be asked"):
            await ask(second, "second")
        assert one.asked == other.asked == []
        # Now that the server is known to ask, requests do not meet any more.
        assert "Eva" in (await ask(second, "second")).content[0].text
        assert one.asked == [] and len(other.asked) == 1
        tasks.cancel_scope.cancel()


@bounded
async def test_further_connections_follow_a_changed_config_when_they_are_idle(tmp_path: Path) -> None:
    one, other, record = User(), User(), tmp_path / "record"
    async with (
        serving("legacy") as (server, gateway),
        Client(server, mode="legacy", elicitation_callback=one.elicit) as first,
        Client(server, mode="legacy", elicitation_callback=other.elicit) as second,
        anyio.create_task_group() as tasks,
    ):
        await ask(first, "first")
        tasks.start_soon(first.call_tool, "fixture__wait", {"record": str(record)})
        while not record.exists():  # noqa: ASYNC110 - written by the other call
            await anyio.sleep(0.01)
        await ask(second, "second")
        (lane,) = (lane for lanes in gateway.offers._lanes._lanes.values() for lane in lanes)
        (known,) = gateway.config.servers
        gateway.reload(replace(gateway.config, servers=(replace(known, headers={"X-Changed": "yes"}),)))
        await lane.done.wait()
        await ask(second, "second")
        assert [question.message for question in other.asked] == ["Name of second?"] * 2
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("back_mode", ERAS)
@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("tool", ["ask", "visit", "sample", "roots"])
@bounded
async def test_a_client_that_cannot_be_asked_gets_an_error_and_no_hang(tool: str, mode: Any, back_mode: str) -> None:
    async with serving(back_mode) as (server, _), Client(server, mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool(f"fixture__{tool}", {})
        if mode == "auto":
            assert caught.value.error.code == -32021
            assert "requiredCapabilities" in caught.value.error.data


@bounded
async def test_a_server_may_ask_while_our_own_tool_uses_it() -> None:
    """`do` asks what the server asks, as a direct call would; the model's part is not the point here."""
    async with serving("legacy") as (server, gateway), serving("auto") as (modern_server, modern):
        for own, opened in ((server, gateway), (modern_server, modern)):
            user = User()
            made: list[Any] = []

            async def do(request: Any, *, opened: Any = opened, made: Any = made, **options: Any) -> Any:
                made.append(await opened.call("fixture", "ask", {"who": "do"}, caller=options["caller"]))
                raise RuntimeError("nothing more to do")

            opened.do = do
            async with Client(own, mode="auto", elicitation_callback=user.elicit) as client:
                with pytest.raises(MCPError):
                    await client.call_tool("do", {"request": "x"})
            assert json.loads(made[0].text)["content"] == {"name": "Eva"}
            assert [question.message for question in user.asked] == ["Name of do?"]


@bounded
async def test_folders_are_told_to_a_server_that_asks_while_nothing_runs() -> None:
    """Only where there is one user; and again when they change."""
    folders = ["first"]

    async def roots(context: Any) -> t.ListRootsResult:
        return t.ListRootsResult(roots=[t.Root(uri=f"file:///{name}") for name in folders])

    async with serving("legacy") as (_, gateway):
        for one_user, told in ((True, True), (False, False)):
            server = build_server(gateway, one_user=one_user)
            async with Client(server, mode="legacy", list_roots_callback=roots) as client:

                async def known(client: Client = client) -> list[str]:
                    return list(json.loads((await client.call_tool("fixture__folders", {})).content[0].text))  # type: ignore[union-attr]

                folders[:] = [f"second-{one_user}"]
                await client.send_roots_list_changed()
                await known()
                while told and await known() != [f"file:///second-{one_user}"]:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                assert (await known() == [f"file:///second-{one_user}"]) is told
