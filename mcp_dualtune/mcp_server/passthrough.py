"""The clients' own requests to the servers behind us: calls, prompts, resources, completion, subscriptions.

Owns finding the server that a request means and handing request and result on as they came. Refuses to own our own
tools (`server`), how questions travel (`conversation`) and who is told of changes (`announcing`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import mcp.types as mcp_types
from mcp.shared.exceptions import MCPError

from mcp_dualtune.downstream.questions import Forwarded
from mcp_dualtune.errors import DualTuneError, InputRequired, ProtocolError
from mcp_dualtune.mcp_server import results
from mcp_dualtune.mcp_server.conversation import STRAIGHT, Conversation, Retry
from mcp_dualtune.mcp_server.exposure import Exposed
from mcp_dualtune.mcp_server.results import Wire, own_meta
from mcp_dualtune.mcp_server.sessions import MODERN, Context, Session
from mcp_dualtune.mcp_server.shelf import Address, Shelf
from mcp_dualtune.mcp_server.untouched import whole
from mcp_dualtune.types import JSON, ToolCall, ToolSpec

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway

START_PATIENCE = 5.0
"""Seconds after the start until which a list waits for servers that are still starting; later they are announced."""
NOT_FOUND, NOT_FOUND_BEFORE = mcp_types.INVALID_PARAMS, -32002
"""What an unknown resource is called in the stateless protocol and in the era before."""
_HOP_META = ("progressToken", "progress_token")
Confirm = Callable[[Conversation, ToolCall, str], Awaitable[bool]]


class Passthrough:
    """What is shown of the servers, and the requests for it."""

    def __init__(self, gateway: Gateway, own_tools: list[Wire]) -> None:
        self.exposed = Exposed(gateway.config.settings.expose, gateway.config.prefixes, own_tools)
        self._gateway, self._own = gateway, own_tools
        self._shelf: Shelf | None = None
        self._shelf_for: tuple[object, ...] = ()
        self._tools: list[Wire] = []
        self._tools_for: object = None

    def shelf(self) -> Shelf:
        """Resources and prompts as they are shown now."""
        servers = self.exposed.servers(self._gateway.catalog) if self.exposed.exposure == "selected" else None
        offers = tuple(
            offer
            for offer in self._gateway.offers
            if self.exposed.exposure == "all" or (servers is not None and offer.server in servers)
        )
        current = tuple(map(id, offers))
        if self._shelf is None or current != self._shelf_for[:-1]:
            self._shelf = Shelf(offers, self._gateway.config.prefixes)
            # The offers stay with their ids, so that no other object can take one of them.
            self._shelf_for = (*current, offers)
        return self._shelf

    def tools(self) -> list[Wire]:
        """Our tools and the servers', as they are shown now."""
        shown = self.exposed.tools(self._gateway.catalog)
        if shown is not self._tools_for:
            self._tools, self._tools_for = [*self._own, *self.exposed.wire_tools(self._gateway.catalog)], shown
        return self._tools

    async def find(self, name: str) -> ToolSpec | None:
        """The tool behind a public name, also of a server that is just starting."""
        if (known := self.tool(name)) is None:
            await self.settle()
        return known or self.tool(name)

    def tool(self, name: str) -> ToolSpec | None:
        """The tool behind a public name, if it is shown."""
        return self.exposed.tools(self._gateway.catalog).get(name)

    def lists(self) -> dict[str, object]:
        """By kind, what clients see now."""
        shelf = self.shelf()
        return {"tools": self.tools(), "prompts": shelf.prompts, "resources": (shelf.resources, shelf.templates)}

    # Lists

    async def list_tools(self, ctx: Context, params: mcp_types.PaginatedRequestParams | None) -> Any:
        """Every tool that is shown, ours first."""
        await self.settle()
        tools = self.tools() if ctx.protocol_version >= MODERN else [_for_handshake(tool) for tool in self.tools()]
        return whole(ctx, {"tools": tools})

    async def list_prompts(self, ctx: Context, params: mcp_types.PaginatedRequestParams | None) -> Any:
        """Every prompt that is shown."""
        await self.settle()
        return whole(ctx, {"prompts": self.shelf().prompts})

    async def list_resources(self, ctx: Context, params: mcp_types.PaginatedRequestParams | None) -> Any:
        """Every resource that is shown."""
        await self.settle()
        return whole(ctx, {"resources": self.shelf().resources})

    async def list_templates(self, ctx: Context, params: mcp_types.PaginatedRequestParams | None) -> Any:
        """Every resource template that is shown."""
        await self.settle()
        return whole(ctx, {"resourceTemplates": self.shelf().templates})

    async def settle(self) -> None:
        """Give servers that are still starting their time; soon after the start this never waits."""
        if self.exposed.exposure != "none":
            await self._gateway.wait_start(START_PATIENCE)

    # Requests

    async def call(
        self, ctx: Context, params: mcp_types.CallToolRequestParams, tool: ToolSpec, confirm: Confirm
    ) -> Any:
        """Call a server's tool."""

        async def work(conversation: Conversation) -> Wire:
            async def agree(call: ToolCall, reason: str) -> bool:
                # A retry comes from a call that was agreed to: its state is sealed and fits only this call.
                return _is_straight(params) or await confirm(conversation, call, reason)

            try:
                result = await self._gateway.call(
                    tool.server,
                    tool.name,
                    params.arguments or {},
                    watch=conversation.relay,
                    confirm=agree if _is_straight(params) or conversation.can_ask() else None,
                    caller=conversation,
                    forwarded=Forwarded(_rest(ctx, "name", "arguments"), conversation.modern),
                )
            except InputRequired as asked:
                return _straight(asked)
            return dict(result.whole or {})

        try:
            return await self._hold(ctx, params, work)
        except Exception as error:
            results.say_own_words(error)
            raise

    async def get_prompt(self, ctx: Context, params: mcp_types.GetPromptRequestParams) -> Any:
        """Get a server's prompt."""
        await self.settle()
        place = self.shelf().prompt(params.name)
        if place is None:
            raise MCPError(mcp_types.INVALID_PARAMS, f"Unknown prompt: {params.name}")

        async def work(conversation: Conversation) -> Wire:
            return await self._request(ctx, conversation, place, "name")

        return await self._carry(ctx, params, work)

    async def read_resource(self, ctx: Context, params: mcp_types.ReadResourceRequestParams) -> Any:
        """Read a server's resource; where nobody lists it, every server that may have it is asked in turn."""
        await self.settle()
        places = self.shelf().find(str(params.uri))

        async def work(conversation: Conversation) -> Wire:
            first: ProtocolError | None = None
            for place in places:
                try:
                    return await self._request(ctx, conversation, place, "uri")
                except ProtocolError as error:
                    if error.code is None:
                        raise
                    first = first or error
            if first is None:
                raise ProtocolError(
                    f"Resource not found: {params.uri}", code=NOT_FOUND_BEFORE, data={"uri": params.uri}
                )
            raise first

        try:
            return await self._carry(ctx, params, work)
        except MCPError as error:
            if error.code == NOT_FOUND_BEFORE and ctx.protocol_version >= MODERN:
                raise MCPError(NOT_FOUND, error.message, error.data) from None
            raise

    async def complete(self, ctx: Context, params: mcp_types.CompleteRequestParams) -> Any:
        """Complete an argument of a server's prompt or resource template."""
        await self.settle()
        shelf = self.shelf()
        ref = params.ref
        is_prompt = isinstance(ref, mcp_types.PromptReference)
        place = shelf.prompt(ref.name) if is_prompt else shelf.template(ref.uri)  # type: ignore[union-attr]
        if place is None:
            raise MCPError(mcp_types.INVALID_PARAMS, "Nothing of this name can be completed.")
        server, own = place
        if not shelf.completes(server):
            return whole(ctx, {"completion": {"values": [], "hasMore": False}})
        given = {**_rest(ctx), "ref": {**(ctx.params or {})["ref"], "name" if is_prompt else "uri": own}}
        try:
            return whole(ctx, await self._gateway.request(server, ctx.method, given))
        except DualTuneError as error:
            results.refuse(error)

    async def subscribe(self, ctx: Context, params: mcp_types.SubscribeRequestParams) -> mcp_types.EmptyResult:
        """Tell this session of changes of a resource."""
        session, place = Session.of(ctx), self.place(str(params.uri))
        if place is None:
            raise MCPError(NOT_FOUND_BEFORE, f"Resource not found: {params.uri}", {"uri": params.uri})
        if session is not None and place not in session.subscribed:
            try:
                await self._gateway.subscribe(*place)
            except DualTuneError as error:
                results.refuse(error)
            session.subscribed[place] = str(params.uri)
        return mcp_types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: mcp_types.UnsubscribeRequestParams) -> mcp_types.EmptyResult:
        """Tell this session of changes of a resource no more."""
        session, place = Session.of(ctx), self.place(str(params.uri))
        if session is not None and place is not None and session.subscribed.pop(place, None) is not None:
            await self._gateway.offers.unsubscribe(*place)
        return mcp_types.EmptyResult()

    def place(self, uri: str) -> Address | None:
        """Whose resource a URI most likely is."""
        return next(iter(self.shelf().find(uri)), None)

    async def _request(self, ctx: Context, conversation: Conversation, place: Address, key: str) -> Wire:
        server, own = place
        params = {**_rest(ctx), key: own}
        try:
            result = await self._gateway.request(
                server,
                ctx.method,
                params,
                watch=conversation.relay,
                caller=conversation,
                straight=conversation.modern,
            )
        except InputRequired as asked:
            return _straight(asked)
        return dict(result)

    async def _carry(self, ctx: Context, params: Retry, work: Callable[[Conversation], Awaitable[Wire]]) -> Any:
        try:
            return await self._hold(ctx, params, work)
        except Exception as error:
            results.refuse(error)

    async def _hold(self, ctx: Context, params: Retry, work: Callable[[Conversation], Awaitable[Wire]]) -> Any:
        result = await ctx.lifespan_context.hold(ctx, params, work)
        return whole(ctx, result) if isinstance(result, dict) else result


def _rest(ctx: Context, *named: str) -> dict[str, JSON]:
    """The request's parameters as the client sent them, without those `named` and without what belongs to this hop."""
    params = {key: value for key, value in (ctx.params or {}).items() if key not in named}
    meta = {key: value for key, value in own_meta(params.pop("_meta", None)).items() if key not in _HOP_META}
    state = params.pop("requestState", None)
    if isinstance(state, str) and len(state) > len(STRAIGHT):
        params["requestState"] = state.removeprefix(STRAIGHT)
    return {**params, "_meta": meta} if meta else params


def _is_straight(params: Retry) -> bool:
    return params.request_state is not None and params.request_state.startswith(STRAIGHT)


def _straight(asked: InputRequired) -> Wire:
    """A server's own question, its state marked so that the retry reaches it and nothing of ours."""
    state = asked.result.get("requestState")
    return {**asked.result, "requestState": STRAIGHT + (state if isinstance(state, str) else "")}


def _for_handshake(tool: Wire) -> Wire:
    """A tool without an output schema that this era does not know."""
    schema = tool.get("outputSchema")
    if isinstance(schema, Mapping) and schema.get("type") != "object":
        return {key: value for key, value in tool.items() if key != "outputSchema"}
    return tool
