"""A real server with everything that has to pass through a gateway, in both protocol eras.

Where the older era pushes a question, the newer one answers with it; the tools are the same. Run it as a program for
stdio, or take `make_server` into a process.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import mcp.types as t
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

warnings.simplefilter("ignore", MCPDeprecationWarning)
MODERN = "2026-07-28"
Context = ServerRequestContext[Any, Any]
ICON = {"src": "https://icons.example/a.png", "mimeType": "image/png", "sizes": ["48x48"]}
FORM = {"type": "object", "properties": {"name": {"type": "string", "default": "Ana"}}, "required": ["name"]}
LOGIN_PAGE = "https://login.example/1?ticket=9#here"
"""What stands behind the path is nobody's but the user's."""
NOTHING = {"type": "object", "properties": {}}
NAMES = [
    *("blocks", "fail", "refuse", "progress", "log", "wait", "meta", "big", "meet"),
    *("ask", "ask_twice", "visit", "sample", "roots", "grow", "touch", "folders"),
]
TOOLS: dict[str, dict[str, Any]] = {
    "echo": {
        "title": "Say it again",
        "description": "Says what it is told.",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"value": {"$ref": "#/$defs/any"}},
            "$defs": {"any": {"description": "Anything"}},
        },
        "outputSchema": {"type": "object", "properties": {"value": {}}, "required": ["value"]},
        "annotations": {"title": "Echo", "readOnlyHint": True, "openWorldHint": False},
        "icons": [ICON],
        "_meta": {"vendor.example/cost": 3},
    },
    **{name: {"description": name, "inputSchema": NOTHING} for name in NAMES},
}
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "words", "annotations": {"audience": ["user"], "priority": 0.5}, "_meta": {"k": [1]}},
    {"type": "image", "data": "aGk=", "mimeType": "image/png"},
    {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "fixture://unlisted/7", "name": "seven", "mimeType": "text/plain"},
    {"type": "resource", "resource": {"uri": "fixture://a", "text": "inside", "mimeType": "text/plain"}},
    {"type": "resource", "resource": {"uri": "fixture://b", "blob": "aGk=", "mimeType": "x/y"}},
]


class Fixture:
    """The handlers; one object serves any number of clients."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.extra: list[str] = []
        self.subscribers: list[Any] = []
        self.roots: list[str] = []
        self.present: list[str] = []
        self.both = anyio.Event()

    # Tools

    async def list_tools(self, ctx: Context, params: Any) -> t.ListToolsResult:
        shown = {**TOOLS, **{name: {"inputSchema": NOTHING} for name in self.extra}}
        names = list(shown)
        # Two pages, so that a gateway has to follow the cursor.
        first = not (params and params.cursor)
        page = names[:5] if first else names[5:]
        tools = [t.Tool.model_validate({"name": name, **shown[name]}) for name in page]
        return t.ListToolsResult(tools=tools, next_cursor="more" if first else None)

    async def call_tool(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        work: Callable[..., Any] | None = getattr(self, f"do_{params.name}", None)
        if work is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {params.name}", {"tool": params.name})
        return await work(ctx, params)

    async def do_echo(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        value = (params.arguments or {}).get("value")
        return text(json.dumps(value), structured={"value": value})

    async def do_blocks(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        return t.CallToolResult.model_validate({"content": BLOCKS, "_meta": {"vendor.example/k": {"deep": None}}})

    async def do_fail(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        return text("it broke", error=True)

    async def do_refuse(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        raise MCPError(-31999, "out of paper", {"tray": 2, "none": None})

    async def do_progress(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        for done in range(1, 4):
            await ctx.session.report_progress(done, 3, f"part {done}")
        return text("done")

    async def do_log(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        for level in ("debug", "info", "error"):
            await ctx.session.send_log_message(level, {"said": level}, "fixture", ctx.request_id)
        return text("logged")

    async def do_meet(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        """Log on behalf of this call once another one is running beside it."""
        who = (params.arguments or {})["who"]
        self.present.append(who)
        if len(self.present) == 2:
            self.both.set()
        await self.both.wait()
        for number in range(3):
            await ctx.session.send_log_message("error", {"for": who, "number": number}, "fixture", ctx.request_id)
        return text(who)

    async def do_wait(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        # A file, because whoever looks may be talking to another process of this server.
        record = Path((params.arguments or {})["record"])
        record.write_text("started", encoding="utf-8")  # noqa: ASYNC240 - a few bytes
        try:
            await anyio.sleep(600)
        finally:
            record.write_text("ended", encoding="utf-8")  # noqa: ASYNC240

    async def do_meta(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        kept = {k: v for k, v in (ctx.meta or {}).items() if "/" in k and not k.startswith("io.modelcontextprotocol")}
        return text(json.dumps(kept))

    async def do_big(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        return text("x" * 1_500_000)

    async def do_ask(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        who = (params.arguments or {}).get("who", "you")
        question = t.ElicitRequest(params=t.ElicitRequestFormParams(message=f"Name of {who}?", requested_schema=FORM))
        return await self.answered(ctx, params, question, t.ElicitResult)

    async def do_ask_twice(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        question = t.ElicitRequest(params=t.ElicitRequestFormParams(message="First?", requested_schema=FORM))
        if ctx.protocol_version >= MODERN:
            if params.request_state is None:
                return t.InputRequiredResult(input_requests={"q": question}, request_state="one")
            given = (params.input_responses or {})["q"]
            if params.request_state == "one":
                assert question.params is not None
                question.params.message = "Second?"
                name = given.content["name"]  # type: ignore[union-attr]
                return t.InputRequiredResult(input_requests={"q": question}, request_state=f"two {name}")
            first = params.request_state.removeprefix("two ")
            return text(f"{first} and {given.content['name']}")  # type: ignore[union-attr]
        names = []
        for message in ("First?", "Second?"):
            answer = await ctx.session.elicit_form(message, FORM, ctx.request_id)
            names.append(str((answer.content or {})["name"]))
        return text(" and ".join(names))

    async def do_visit(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        legacy = {} if ctx.protocol_version >= MODERN else {"elicitation_id": "e1"}
        url = t.ElicitRequestURLParams(message="Look there", url=LOGIN_PAGE, **legacy)
        return await self.answered(ctx, params, t.ElicitRequest(params=url), t.ElicitResult)

    async def do_sample(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        message = t.SamplingMessage(role="user", content=t.TextContent(text="say hi"))
        question = t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=9))
        return await self.answered(ctx, params, question, t.CreateMessageResult)

    async def do_roots(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        return await self.answered(ctx, params, t.ListRootsRequest(), t.ListRootsResult)

    async def answered(self, ctx: Context, params: Any, question: Any, kind: Any) -> Any:
        """Ask in the way of the client's era and tell the answer; a kind that it did not declare is an error."""
        need = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
        name = need[question.method]
        if getattr(ctx.session.client_capabilities, name, None) is None:
            data = {"requiredCapabilities": {name: {}}}
            raise MCPError(-32021, f"needs {name}", data)
        if ctx.protocol_version >= MODERN:
            if params.request_state is None:
                return t.InputRequiredResult(input_requests={"q": question}, request_state=f"state of {params.name}")
            assert params.request_state == f"state of {params.name}", "the state of another question"
            answer = (params.input_responses or {})["q"]
        else:
            about = ServerMessageMetadata(related_request_id=ctx.request_id)
            answer = await ctx.session.send_request(question, kind, metadata=about)
        return text(json.dumps(answer.model_dump(by_alias=True, mode="json", exclude_none=True), sort_keys=True))

    async def do_grow(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        self.extra.append(f"extra{len(self.extra)}")
        for event in (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()):
            await self.bus.publish(event)
        if ctx.protocol_version < MODERN:
            await ctx.session.send_tool_list_changed()
            await ctx.session.send_prompt_list_changed()
            await ctx.session.send_resource_list_changed()
        return text(self.extra[-1])

    async def do_touch(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        await self.bus.publish(ResourceUpdated("fixture://a"))
        for session in self.subscribers:
            await session.send_resource_updated("fixture://a")
        return text(str(len(self.subscribers)))

    # Resources and prompts

    async def list_resources(self, ctx: Context, params: Any) -> t.ListResourcesResult:
        first = {
            "uri": "fixture://a",
            "name": "a",
            "title": "The first",
            "size": 6,
            "icons": [ICON],
            "_meta": {"x/y": 1},
        }
        more = [{"uri": f"fixture://{name}", "name": name} for name in ("b", *self.extra)]
        if params and params.cursor:
            return t.ListResourcesResult(resources=[t.Resource.model_validate(entry) for entry in more])
        return t.ListResourcesResult(resources=[t.Resource.model_validate(first)], next_cursor="2")

    async def list_templates(self, ctx: Context, params: Any) -> t.ListResourceTemplatesResult:
        entry = {"uriTemplate": "fixture://item/{id}", "name": "item", "description": "One item"}
        return t.ListResourceTemplatesResult(resource_templates=[t.ResourceTemplate.model_validate(entry)])

    async def read_resource(self, ctx: Context, params: t.ReadResourceRequestParams) -> Any:
        uri = str(params.uri)
        if uri == "fixture://b":
            return t.ReadResourceResult(contents=[t.BlobResourceContents(uri=uri, blob="aGk=", mime_type="x/y")])
        if uri == "fixture://a" or uri.startswith(("fixture://item/", "fixture://unlisted/")):
            contents = t.TextResourceContents(uri=uri, text=f"text of {uri}", mime_type="text/plain", _meta={"c/d": 1})
            return t.ReadResourceResult(contents=[contents], _meta={"vendor.example/r": True})
        raise MCPError(-32602 if ctx.protocol_version >= MODERN else -32002, "no such resource", {"uri": uri})

    async def subscribe(self, ctx: Context, params: Any) -> t.EmptyResult:
        self.subscribers.append(ctx.session)
        return t.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: Any) -> t.EmptyResult:
        self.subscribers.clear()
        return t.EmptyResult()

    async def list_prompts(self, ctx: Context, params: Any) -> t.ListPromptsResult:
        greet = {
            "name": "greet",
            "title": "Greeting",
            "icons": [ICON],
            "arguments": [{"name": "who", "required": True}],
        }
        more = [{"name": name} for name in self.extra]
        return t.ListPromptsResult(prompts=[t.Prompt.model_validate(entry) for entry in (greet, *more)])

    async def get_prompt(self, ctx: Context, params: t.GetPromptRequestParams) -> Any:
        if params.name != "greet":
            raise MCPError(t.INVALID_PARAMS, f"no prompt {params.name}")
        said = [{"role": "user", "content": {**BLOCKS[0], "text": f"Hello {(params.arguments or {}).get('who')}"}}]
        said += [{"role": "assistant", "content": block} for block in BLOCKS[1:]]
        return t.GetPromptResult.model_validate({"description": "A greeting", "messages": said, "_meta": {"p/q": 2}})

    async def complete(self, ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        about = params.ref.name if isinstance(params.ref, t.PromptReference) else params.ref.uri
        values = [f"{about}:{params.argument.value}{end}" for end in "ab"]
        return t.CompleteResult(completion=t.Completion(values=values, total=2, has_more=False))

    async def roots_changed(self, ctx: Context, params: Any) -> None:
        """Ask for the client's folders while none of its requests runs, as servers of files do."""
        self.roots = [str(root.uri) for root in (await ctx.session.list_roots()).roots]

    async def do_folders(self, ctx: Context, params: t.CallToolRequestParams) -> Any:
        return text(json.dumps(self.roots))

    async def set_level(self, ctx: Context, params: Any) -> t.EmptyResult:
        return t.EmptyResult()


class FixtureServer(Server[Any]):
    """Tells handshake clients that its lists change."""

    def create_initialization_options(self, notification_options: Any = None, *rest: Any, **more: Any) -> Any:
        options = notification_options or NotificationOptions(True, True, True)
        return super().create_initialization_options(options, *rest, **more)


def text(said: str, *, structured: Any = None, error: bool = False) -> t.CallToolResult:
    """A result of one text."""
    return t.CallToolResult(content=[t.TextContent(text=said)], structured_content=structured, is_error=error)


def make_server() -> FixtureServer:
    """A fresh server."""
    fixture = Fixture()
    return FixtureServer(
        "fixture",
        version="1",
        instructions="Use echo to hear yourself.",
        on_list_tools=fixture.list_tools,
        on_call_tool=fixture.call_tool,
        on_list_resources=fixture.list_resources,
        on_list_resource_templates=fixture.list_templates,
        on_read_resource=fixture.read_resource,
        on_subscribe_resource=fixture.subscribe,
        on_unsubscribe_resource=fixture.unsubscribe,
        on_list_prompts=fixture.list_prompts,
        on_get_prompt=fixture.get_prompt,
        on_completion=fixture.complete,
        on_set_logging_level=fixture.set_level,
        on_roots_list_changed=fixture.roots_changed,
        on_subscriptions_listen=ListenHandler(fixture.bus),
    )


async def main() -> None:
    """Serve over stdio."""
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    server = make_server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)
    sys.exit(0)
