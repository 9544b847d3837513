"""The MCP server that clients register: `do`, `plan`, `find_tools`, and the downstream tools where they are shown.

Owns the handlers. Refuses to own transports (`run`, `http`), the wire form of results (`results`) and waiting for
answers (`conversation`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import mcp.types as mcp_types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged

import mcp_dualtune
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import ProtocolError, RequestError
from mcp_dualtune.mcp_server import questions, results
from mcp_dualtune.mcp_server.callers import note_caller
from mcp_dualtune.mcp_server.conversation import ANSWER_LIMIT, MODERN, Context, Conversation, Conversations
from mcp_dualtune.mcp_server.exposure import FOUND, Exposed, own_tools
from mcp_dualtune.mcp_server.results import Wire
from mcp_dualtune.security.untrusted import clean_tool
from mcp_dualtune.types import JSON, Decision, Request, ToolCall, ToolSpec

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway

NAME = "mcp-dualtune"
LIST_PATIENCE = 5.0
"""Seconds that `tools/list` waits for servers that are still starting."""
PUSH_LIMIT = 5.0
"""Seconds for one client to take a change notice; a client that does not read must not hold up the others."""
INSTRUCTIONS = (
    "Send a plain request to `do` and it is carried out with the right tool of the servers behind this one; `plan` only"
    " says what would be done; `find_tools` lists tools. Put every value that is needed into the request."
)


class GatewayServer(Server[Conversations]):
    """A low-level server that also tells handshake clients that its tool list may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The options of every transport; the SDK's HTTP path passes no arguments, hence the default here."""
        options = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)


def build_server(gateway: Gateway) -> GatewayServer:
    """The MCP server in front of an entered `gateway`; it may serve any number of connections."""
    return _Handlers(gateway).server


class _Handlers:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.exposed = Exposed(gateway.config.settings.expose)
        self.own = {tool["name"]: tool for tool in own_tools()}
        self.bus = InMemorySubscriptionBus()
        self.sessions: dict[int, ServerSession] = {}
        """One session per handshake connection that has listed the tools; the others subscribe to the bus."""
        self.grown = anyio.Event()
        self.server = GatewayServer(
            NAME,
            version=mcp_dualtune.__version__,
            title="MCP DualTune",
            instructions=INSTRUCTIONS,
            lifespan=self.lifespan,
            get_tool_input_schema=self.input_schema,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_subscriptions_listen=ListenHandler(self.bus),
        )
        seal = RequestStateSecurity.ephemeral(ttl=ANSWER_LIMIT)
        self.server.middleware.append(note_caller)
        self.server.middleware.append(RequestStateBoundary(seal, default_audience=NAME))

    @asynccontextmanager
    async def lifespan(self, _: Server[Conversations]) -> AsyncIterator[Conversations]:
        async with Conversations.open() as conversations, anyio.create_task_group() as tasks:
            if self.exposed.exposure != "none":
                self.gateway.changed.append(self.note_change)
                tasks.start_soon(self.announce_changes)
            try:
                yield conversations
            finally:
                if self.note_change in self.gateway.changed:
                    self.gateway.changed.remove(self.note_change)
                tasks.cancel_scope.cancel()

    def note_change(self) -> None:
        self.grown.set()

    async def announce_changes(self) -> None:
        """Tell every client that the list of tools is another one now; changes close together are told once."""
        while True:
            await self.grown.wait()
            self.grown = anyio.Event()
            await self.bus.publish(ToolsListChanged())
            for key, session in list(self.sessions.items()):
                with anyio.move_on_after(PUSH_LIMIT) as scope:
                    try:
                        await session.send_tool_list_changed()
                    except (anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError):
                        scope.cancel()
                if scope.cancelled_caught or scope.cancel_called:
                    self.sessions.pop(key, None)

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        if name in self.own:
            schema: Mapping[str, Any] = self.own[name]["inputSchema"]
            return schema
        tool = self.exposed.tools(self.gateway.catalog).get(name)
        return tool.input_schema if tool else None

    async def list_tools(
        self, ctx: Context, params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        if self.exposed.exposure != "none":
            if ctx.protocol_version < MODERN:
                self.sessions[id(ctx.session.client_params)] = ctx.session
            # A client that asks at its start would see nothing; what is not ready by then is announced later.
            with anyio.move_on_after(LIST_PATIENCE):
                await self.gateway.wait_ready()
        shown = [*self.own.values(), *self.exposed.wire_tools(self.gateway.catalog)]
        return mcp_types.ListToolsResult(tools=[mcp_types.Tool.model_validate(tool) for tool in shown])

    async def call_tool(self, ctx: Context, params: mcp_types.CallToolRequestParams) -> Any:
        arguments = params.arguments or {}
        try:
            if params.name in self.own:
                self.check(params.name, arguments)
                return await getattr(self, params.name)(ctx, params, arguments)
            tool = self.exposed.tools(self.gateway.catalog).get(params.name)
            if tool is not None:
                return await self.forward(ctx, params, tool)
            held = self.exposed.held(params.name, self.gateway.held_tools)
            if held is not None:
                # Refused there, with the reason and a record of it.
                return results.forwarded_result(await self.gateway.call(*held, arguments))
        except Exception as error:
            return results.translate(error)
        raise MCPError(mcp_types.INVALID_PARAMS, f"Unknown tool: {params.name}")

    def check(self, name: str, arguments: Mapping[str, JSON]) -> None:
        problems = validate_arguments(self.own[name]["inputSchema"], arguments)
        if problems:
            raise RequestError(f"`{name}` was called wrongly: {'; '.join(problems)}.", hint="Correct the arguments.")

    def request(self, arguments: Mapping[str, JSON]) -> Request:
        servers = arguments.get("servers")
        return Request(text=arguments["request"], servers=tuple(servers) if servers else None)

    # Our own tools; each is named as clients call it.

    async def plan(self, ctx: Context, params: mcp_types.CallToolRequestParams, arguments: Mapping[str, JSON]) -> Wire:
        return results.decision_result(await self.gateway.plan(self.request(arguments)))

    async def find_tools(
        self, ctx: Context, params: mcp_types.CallToolRequestParams, arguments: Mapping[str, JSON]
    ) -> Wire:
        await self.gateway.wait_ready()
        found = self.gateway.find_tools(arguments["query"], arguments.get("limit", FOUND))
        if self.exposed.select(tool for tool, _ in found):
            self.note_change()
        return results.found_result(
            [
                {
                    "server": tool.server,
                    "name": tool.name,
                    "description": tool.description,
                    "inputSchema": dict(tool.input_schema),
                    "score": round(score, 4),
                }
                for tool, score in ((clean_tool(tool), score) for tool, score in found)
            ]
        )

    async def do(self, ctx: Context, params: mcp_types.CallToolRequestParams, arguments: Mapping[str, JSON]) -> Any:
        async def work(conversation: Conversation) -> Wire:
            trajectory = await self.gateway.do(
                self.request(arguments),
                max_steps=arguments.get("max_steps"),
                progress=lambda step: conversation.report(results.say_step(step)),
                watch=conversation.report_part,
                ask=lambda decision: self.ask(conversation, decision),
                confirm=partial(self.confirm, conversation) if conversation.can_ask() else None,
            )
            return results.trajectory_result(trajectory)

        return await ctx.lifespan_context.hold(ctx, params, work)

    async def forward(self, ctx: Context, params: mcp_types.CallToolRequestParams, tool: ToolSpec) -> Any:
        async def work(conversation: Conversation) -> Wire:
            try:
                result = await self.gateway.call(
                    tool.server,
                    tool.name,
                    params.arguments or {},
                    watch=conversation.relay,
                    confirm=partial(self.confirm, conversation) if conversation.can_ask() else None,
                )
            except ProtocolError as error:
                if error.code is None:
                    raise
                # The downstream's own JSON-RPC error is part of its answer: it passes whole.
                raise MCPError(error.code, error.message, error.data) from None
            return results.forwarded_result(result)

        return await ctx.lifespan_context.hold(ctx, params, work)

    async def ask(self, conversation: Conversation, decision: Decision) -> Mapping[str, JSON] | None:
        assert decision.server is not None and decision.tool is not None
        tool = self.gateway.catalog.tool(decision.server, decision.tool)
        message = questions.missing_message(tool, decision.question, decision.missing)
        answers = await conversation.ask(message, questions.missing_form(tool, decision.missing))
        return None if answers is None else questions.read_answers(tool, answers)

    async def confirm(self, conversation: Conversation, call: ToolCall, reason: str) -> bool:
        answers = await conversation.ask(questions.confirm_message(call, reason), questions.confirm_form())
        return answers is not None and answers.get(questions.GO_AHEAD) is True
