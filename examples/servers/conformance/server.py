"""The conformance server itself: its handlers over the tools, resources and prompts of the neighbouring modules."""

from __future__ import annotations

from typing import Any

import mcp.types as types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

from examples.servers.conformance import documents, questions
from examples.servers.conformance.asking import Context, Unanswered
from examples.servers.conformance.tools import DYNAMIC_TOOL, TOOLS, Call, State, dynamic

NAME = "conformance"
INSTRUCTIONS = "Has a tool, a resource and a prompt for everything that the protocol can carry."
ASKING = questions.__name__
"""Named so that the tools which ask are on the list before it is read."""
ANSWER_SECONDS = 600.0


class ConformanceServer(Server[Any]):
    """Says in the handshake too that its lists change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The options of every transport."""
        options = notification_options or NotificationOptions(prompts_changed=True, tools_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)


def make_server() -> ConformanceServer:
    """One server with lists of its own."""
    state = State()
    subscribed: set[str] = set()

    async def list_tools(_: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        extra = [DYNAMIC_TOOL] if state.extra_tool else []
        return types.ListToolsResult(tools=[*(listed for listed, _ in TOOLS.values()), *extra])

    async def call_tool(
        ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        found = TOOLS.get(params.name)
        if found is None and params.name == DYNAMIC_TOOL.name and state.extra_tool:
            found = DYNAMIC_TOOL, dynamic
        if found is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            return await found[1](Call(ctx, params, state))
        except Unanswered as pause:
            return pause.result

    async def list_resources(_: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=documents.RESOURCES)

    async def list_templates(
        _: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=documents.TEMPLATES)

    async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return documents.read(ctx, str(params.uri))

    async def subscribe(_: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        subscribed.add(str(params.uri))
        return types.EmptyResult()

    async def unsubscribe(_: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        subscribed.discard(str(params.uri))
        return types.EmptyResult()

    async def list_prompts(_: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        extra = [documents.DYNAMIC_PROMPT] if state.extra_prompt else []
        return types.ListPromptsResult(prompts=[*documents.PROMPTS, *extra])

    async def get_prompt(
        ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        try:
            return await documents.get(ctx, params)
        except Unanswered as pause:
            return pause.result

    async def complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        return documents.complete(params)

    async def set_level(_: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        state.log_level = params.level
        return types.EmptyResult()

    server = ConformanceServer(
        NAME,
        version="1",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
        on_subscriptions_listen=ListenHandler(state.bus),
    )
    seal = RequestStateSecurity.ephemeral(ttl=ANSWER_SECONDS)
    server.middleware.append(RequestStateBoundary(seal, default_audience=NAME))
    return server
