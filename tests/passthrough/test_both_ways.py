"""The same client code against the fixture server itself and through the gateway, on every transport, in both eras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import mcp.types as t
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.passthrough.conftest import Door, User, bounded
from tests.passthrough.fixture_server import BLOCKS, ICON, LOGIN_PAGE, TOOLS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def wire(model: Any) -> dict[str, Any]:
    """A result in wire spelling, without what belongs to one hop."""
    shown: dict[str, Any] = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    meta = {
        key: value for key, value in shown.pop("_meta", {}).items() if not key.startswith("io.modelcontextprotocol")
    }
    for key in ("resultType", "ttlMs", "cacheScope"):
        shown.pop(key, None)
    return {**shown, "_meta": meta} if meta else shown


async def call(client: Client, door: Door, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
    return await client.call_tool(door.name(tool), arguments or {}, **more)


async def said(client: Client, door: Door, tool: str, arguments: dict[str, Any] | None = None) -> str:
    result = await call(client, door, tool, arguments)
    assert not result.is_error, result.content
    return str(result.content[0].text)


async def all_tools(client: Client) -> list[t.Tool]:
    page = await client.list_tools(cache_mode="refresh")
    tools = list(page.tools)
    while page.next_cursor:
        page = await client.list_tools(cursor=page.next_cursor, cache_mode="refresh")
        tools += page.tools
    return tools


async def all_resources(client: Client) -> list[t.Resource]:
    page = await client.list_resources(cache_mode="refresh")
    found = list(page.resources)
    while page.next_cursor:
        page = await client.list_resources(cursor=page.next_cursor, cache_mode="refresh")
        found += page.resources
    return found


# First: after a request that was given up, this one would take a connection of its own, whose lists are not those that
# are shown.
@bounded
async def test_changed_lists_are_told_and_hold_what_is_new(client: Client, door: Door, user: User) -> None:
    kinds = (t.ToolListChangedNotification, t.PromptListChangedNotification, t.ResourceListChangedNotification)
    if door.modern:
        async with client.listen(
            tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
        ) as events:
            new = await said(client, door, "grow")
            seen = set()
            async for event in events:
                seen.add(type(event).__name__)
                if len(seen) == 3:
                    break
    else:
        await client.list_tools()
        new = await said(client, door, "grow")
        for kind in kinds:
            await user.until(kind)
    assert door.name(new) in {tool.name for tool in await all_tools(client)}
    assert door.name(new) in {prompt.name for prompt in (await client.list_prompts(cache_mode="refresh")).prompts}
    assert f"fixture://{new}" in {str(resource.uri) for resource in await all_resources(client)}


@bounded
async def test_definitions_of_tools_arrive_as_they_were_written(client: Client, door: Door) -> None:
    tools = {tool.name: tool for tool in await all_tools(client)}
    assert set(tools) >= {door.name(name) for name in TOOLS}
    assert wire(tools[door.name("echo")]) == {"name": door.name("echo"), **TOOLS["echo"]}


@pytest.mark.parametrize("value", [{"deep": [1, None, {"x": ""}]}, "ü 😀", 2**60, 1.5, False], ids=str)
@bounded
async def test_arguments_and_structured_content_arrive_as_they_were_sent(
    client: Client, door: Door, value: Any
) -> None:
    result = await call(client, door, "echo", {"value": value})
    assert result.structured_content == {"value": value}
    assert json.loads(result.content[0].text) == value
    assert result.is_error is False


@bounded
async def test_every_kind_of_content_arrives_untouched(client: Client, door: Door) -> None:
    result = wire(await call(client, door, "blocks"))
    assert result["content"] == BLOCKS
    assert result["_meta"] == {"vendor.example/k": {"deep": None}}


@bounded
async def test_a_large_result_arrives_whole(client: Client, door: Door) -> None:
    if door.way.front == "sse" or door.way.back == "sse" or (door.way.front == "http" and not door.modern):
        pytest.skip("one event of these transports holds at most 1 MiB in the SDK's client")
    assert len(await said(client, door, "big")) == 1_500_000


@bounded
async def test_a_tool_that_fails_is_a_result(client: Client, door: Door) -> None:
    result = await call(client, door, "fail")
    assert result.is_error and result.content[0].text == "it broke"


@bounded
async def test_an_error_keeps_code_message_and_data(client: Client, door: Door) -> None:
    with pytest.raises(MCPError) as caught:
        await call(client, door, "refuse")
    error = caught.value.error
    assert (error.code, error.message, error.data) == (-31999, "out of paper", {"tray": 2, "none": None})


@bounded
async def test_progress_arrives_in_order_with_its_words(client: Client, door: Door) -> None:
    heard: list[Any] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    await call(client, door, "progress", progress_callback=progress)
    assert heard == [(done, 3, f"part {done}") for done in (1, 2, 3)]


@bounded
async def test_metadata_of_a_request_arrives_except_for_what_belongs_to_one_hop(client: Client, door: Door) -> None:
    result = await call(client, door, "meta", meta={"vendor.example/trace": {"id": 7}})
    assert json.loads(result.content[0].text) == {"vendor.example/trace": {"id": 7}}


@bounded
async def test_log_messages_arrive_from_the_level_that_was_asked_for(client: Client, door: Door, user: User) -> None:
    if not door.modern:
        await client.set_logging_level("info")
    await call(client, door, "log")
    with anyio.move_on_after(10):
        while len(user.logs) < 2:  # noqa: ASYNC110 - a notification may come after the result
            await anyio.sleep(0.01)
    wanted = [entry for entry in user.logs if entry[0] != "debug"]
    assert wanted == [(level, {"said": level}, "fixture") for level in ("info", "error")]
    if door.way.through:
        assert len(user.logs) == 2


@bounded
async def test_a_form_is_shown_and_its_answer_used(client: Client, door: Door, user: User) -> None:
    answer = json.loads(await said(client, door, "ask", {"who": "them"}))
    assert answer == {"action": "accept", "content": {"name": "Eva"}}
    [question] = user.asked
    assert question.message == "Name of them?"
    assert question.requested_schema["properties"]["name"] == {"type": "string", "default": "Ana"}


@bounded
async def test_one_call_may_ask_twice(client: Client, door: Door, user: User) -> None:
    assert await said(client, door, "ask_twice") == "Eva and Eva"
    assert [question.message for question in user.asked] == ["First?", "Second?"]


@bounded
async def test_an_address_to_visit_is_shown(client: Client, door: Door, user: User) -> None:
    assert json.loads(await said(client, door, "visit")) == {"action": "accept"}
    assert (user.asked[0].mode, user.asked[0].url) == ("url", LOGIN_PAGE)


@bounded
async def test_the_clients_model_is_asked(client: Client, door: Door, user: User) -> None:
    answer = json.loads(await said(client, door, "sample"))
    assert answer["content"] == {"type": "text", "text": "hi"} and answer["model"] == "m"
    assert user.asked[0].max_tokens == 9


@bounded
async def test_the_clients_folders_are_told(client: Client, door: Door, user: User) -> None:
    answer = json.loads(await said(client, door, "roots"))
    assert answer["roots"] == [{"uri": "file:///Eva", "name": "home"}]


@bounded
async def test_resources_are_listed_to_the_end_and_read(client: Client, door: Door) -> None:
    listed = await all_resources(client)
    assert [str(resource.uri) for resource in listed][:2] == ["fixture://a", "fixture://b"]
    assert wire(listed[0]) == {
        "uri": "fixture://a",
        "name": "a",
        "title": "The first",
        "size": 6,
        "icons": [ICON],
        "_meta": {"x/y": 1},
    }
    found = wire(await client.read_resource("fixture://a"))
    text = {"uri": "fixture://a", "mimeType": "text/plain", "text": "text of fixture://a", "_meta": {"c/d": 1}}
    assert found == {"contents": [text], "_meta": {"vendor.example/r": True}}
    blob = wire(await client.read_resource("fixture://b"))
    assert blob["contents"] == [{"uri": "fixture://b", "mimeType": "x/y", "blob": "aGk="}]


@bounded
async def test_templates_are_listed_and_what_they_name_is_read(client: Client, door: Door) -> None:
    [template] = (await client.list_resource_templates()).resource_templates
    assert template.uri_template == "fixture://item/{id}"
    for uri in ("fixture://item/7", "fixture://unlisted/7"):
        assert (await client.read_resource(uri)).contents[0].text == f"text of {uri}"  # type: ignore[union-attr]


@bounded
async def test_an_unknown_resource_is_the_error_of_the_clients_era(client: Client, door: Door) -> None:
    with pytest.raises(MCPError) as caught:
        await client.read_resource("fixture://gone")
    assert caught.value.error.code == (-32602 if door.modern else -32002) or door.way.back_mode == "auto"
    assert caught.value.error.data == {"uri": "fixture://gone"}


@bounded
async def test_prompts_are_listed_got_and_refused(client: Client, door: Door) -> None:
    [prompt] = [entry for entry in (await client.list_prompts()).prompts if entry.name == door.name("greet")]
    assert wire(prompt) == {
        "name": door.name("greet"),
        "title": "Greeting",
        "icons": [ICON],
        "arguments": [{"name": "who", "required": True}],
    }
    got = wire(await client.get_prompt(door.name("greet"), {"who": "Bo"}))
    assert got["description"] == "A greeting" and got["_meta"] == {"p/q": 2}
    assert got["messages"][0]["content"] == {**BLOCKS[0], "text": "Hello Bo"}
    assert [message["content"] for message in got["messages"][1:]] == BLOCKS[1:]
    with pytest.raises(MCPError) as caught:
        await client.get_prompt("nobody")
    assert caught.value.error.code == t.INVALID_PARAMS


@bounded
async def test_arguments_of_prompts_and_templates_are_completed(client: Client, door: Door) -> None:
    for ref, about in (
        (t.PromptReference(name=door.name("greet")), "greet"),
        (t.ResourceTemplateReference(uri="fixture://item/{id}"), "fixture://item/{id}"),
    ):
        found = await client.complete(ref, {"name": "who", "value": "B"})
        assert found.completion.values == [f"{about}:Ba", f"{about}:Bb"]


@bounded
async def test_what_a_server_says_of_its_use_reaches_the_client(client: Client, door: Door) -> None:
    assert "Use echo to hear yourself." in (client.instructions or "")


@bounded
async def test_a_changed_resource_is_told_to_who_subscribed(client: Client, door: Door, user: User) -> None:
    if door.modern:
        async with client.listen(resource_subscriptions=["fixture://a"]) as events:
            event: Any = None
            async with anyio.create_task_group() as tasks:

                async def touch_until_heard() -> None:
                    # The way behind the gateway opens its stream a moment later.
                    while event is None:
                        await said(client, door, "touch")
                        await anyio.sleep(0.05)

                tasks.start_soon(touch_until_heard)
                event = await anext(aiter(events))
        assert event.uri == "fixture://a"
        return
    await client.subscribe_resource("fixture://a")
    await said(client, door, "touch")
    if door.way.back_mode == "auto":
        while not any(isinstance(message, t.ResourceUpdatedNotification) for message in user.told):
            await said(client, door, "touch")
            await anyio.sleep(0.05)
    await user.until(t.ResourceUpdatedNotification)
    await client.unsubscribe_resource("fixture://a")


@bounded
async def test_cancelling_a_call_ends_it_at_the_server(client: Client, door: Door, tmp_path: Path) -> None:
    record = tmp_path / "record"

    async def until(state: str) -> None:
        while not record.exists() or record.read_text(encoding="utf-8") != state:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, client, door, "wait", {"record": str(record)})
        await until("started")
        tasks.cancel_scope.cancel()
    await until("ended")
