"""The MCP server that clients register: `do`, `plan`, `find_tools`, and what is behind it where that is shown.

Owns our own tools and how the server is put together. Refuses to own transports (`run`, `http`), the servers' own
tools (`passthrough`), the wire form of results (`results`) and waiting for answers (`conversation`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import mcp.types as mcp_types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

import mcp_dualtune
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import RequestError
from mcp_dualtune.mcp_server import questions, results
from mcp_dualtune.mcp_server.announcing import Announcer
from mcp_dualtune.mcp_server.callers import note_caller
from mcp_dualtune.mcp_server.conversation import ANSWER_LIMIT, Conversation, Conversations
from mcp_dualtune.mcp_server.exposure import FOUND, own_tools
from mcp_dualtune.mcp_server.further import FurtherTool
from mcp_dualtune.mcp_server.passthrough import Passthrough
from mcp_dualtune.mcp_server.results import Wire
from mcp_dualtune.mcp_server.sessions import Context, Session, connection_of
from mcp_dualtune.mcp_server.untouched import untouched
from mcp_dualtune.security.untrusted import clean_tool
from mcp_dualtune.types import JSON, Decision, Request, ToolCall

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway

NAME = "mcp-dualtune"
INSTRUCTIONS = (
    "Send a plain request to `do` and it is carried out with the right tool of the servers behind this one; `plan` only"
    " says what would be done; `find_tools` lists tools. Put every value that is needed into the request."
)


class GatewayServer(Server[Conversations]):
    """A low-level server that also tells handshake clients that its lists may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The options of every transport; the SDK's HTTP path passes no arguments, hence the default here."""
        options = notification_options or NotificationOptions(True, True, True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)


def build_server(gateway: Gateway, *, one_user: bool = False, further: Sequence[FurtherTool] = ()) -> GatewayServer:
    """The MCP server in front of an entered `gateway`; it may serve any number of connections.

    Args:
        one_user: all connections are of the same person, as over stdio. Then the servers' connections are shared, and
            their questions go to that person; else every session that can be asked gets connections of its own.
        further: tools of ours beside the three that every server has.
    """
    return _Handlers(gateway, one_user, further).server


class _Handlers:
    def __init__(self, gateway: Gateway, one_user: bool, further: Sequence[FurtherTool]) -> None:
        self.gateway, self.one_user = gateway, one_user
        self.further = {tool.name: tool for tool in further}
        self.own = {tool["name"]: tool for tool in (*own_tools(), *(tool.wire for tool in further))}
        self.passing = Passthrough(gateway, list(self.own.values()))
        self.announcer = Announcer(gateway, self.passing.lists, one_user)
        self.server = GatewayServer(
            NAME,
            version=mcp_dualtune.__version__,
            title="MCP DualTune",
            instructions=INSTRUCTIONS,
            lifespan=self.lifespan,
            get_tool_input_schema=self.input_schema,
            on_list_tools=self.passing.list_tools,
            on_call_tool=self.call_tool,
            on_subscriptions_listen=self.listen,
        )
        if self.announcer.exposing:
            self.add_passthrough()
        seal = RequestStateSecurity.ephemeral(ttl=ANSWER_LIMIT)
        self.server.middleware += [
            note_caller,
            self.announcer.greet,
            RequestStateBoundary(seal, default_audience=NAME),
            untouched,
        ]

    def add_passthrough(self) -> None:
        """Declare and serve what servers have besides tools; a client that sees none of it is told of none of it."""
        passing, add = self.passing, self.server.add_request_handler
        add("prompts/list", mcp_types.PaginatedRequestParams, passing.list_prompts)
        add("prompts/get", mcp_types.GetPromptRequestParams, passing.get_prompt)
        add("resources/list", mcp_types.PaginatedRequestParams, passing.list_resources)
        add("resources/templates/list", mcp_types.PaginatedRequestParams, passing.list_templates)
        add("resources/read", mcp_types.ReadResourceRequestParams, passing.read_resource)
        add("resources/subscribe", mcp_types.SubscribeRequestParams, passing.subscribe)
        add("resources/unsubscribe", mcp_types.UnsubscribeRequestParams, passing.unsubscribe)
        add("completion/complete", mcp_types.CompleteRequestParams, passing.complete)
        add("logging/setLevel", mcp_types.SetLevelRequestParams, self.set_level)
        changed = "notifications/roots/list_changed"
        self.server.add_notification_handler(changed, mcp_types.NotificationParams, self.roots_changed)

    @asynccontextmanager
    async def lifespan(self, _: Server[Conversations]) -> AsyncIterator[Conversations]:
        async with Conversations.open(self.one_user) as conversations, self.announcer.running():
            yield conversations

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        if name in self.own:
            schema: Mapping[str, Any] = self.own[name]["inputSchema"]
            return schema
        tool = self.passing.tool(name)
        return tool.wire.get("inputSchema") if tool else None

    async def listen(
        self, ctx: Context, params: mcp_types.SubscriptionsListenRequestParams
    ) -> mcp_types.SubscriptionsListenResult:
        return await self.announcer.listen(ctx, params, self.passing.place)

    async def set_level(self, ctx: Context, params: mcp_types.SetLevelRequestParams) -> mcp_types.EmptyResult:
        session = Session.of(ctx)
        if session is not None:
            session.level = params.level
        return mcp_types.EmptyResult()

    async def roots_changed(self, ctx: Context, params: mcp_types.NotificationParams) -> None:
        self.announcer.roots_changed(connection_of(ctx))

    async def call_tool(self, ctx: Context, params: mcp_types.CallToolRequestParams) -> Any:
        arguments = params.arguments or {}
        try:
            if params.name in self.own:
                self.check(params.name, arguments)
                if params.name in self.further:
                    work = partial(self.further[params.name].work, arguments=arguments)
                    return await ctx.lifespan_context.hold(ctx, params, work)
                return await getattr(self, params.name)(ctx, params, arguments)
            tool = await self.passing.find(params.name)
            if tool is not None:
                return await self.passing.call(ctx, params, tool, self.confirm)
            held = self.passing.exposed.held(params.name, self.gateway.held_tools)
            if held is not None:
                # Refused there, with the reason and a record of it.
                await self.gateway.call(*held, arguments)
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
        if self.passing.exposed.select(tool for tool, _ in found):
            self.announcer.note_change()
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
                caller=conversation,
            )
            return results.trajectory_result(trajectory)

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
