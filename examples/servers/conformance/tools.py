"""The tools of the conformance server that answer by themselves: content, errors, progress, log, changing lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import mcp.types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged

from examples.servers.conformance.asking import Context
from examples.servers.conformance.documents import PIXEL

PAUSE = 0.05
"""Seconds between two notifications, so that they are seen to come while the tool works."""
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
"""An empty recording as WAV."""
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
# What the suite wants to see again, word for word.
DIALECT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class State:
    """What the tools change in the server."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.extra_tool = self.extra_prompt = False
        self.log_level: types.LoggingLevel = "debug"
        """The least that is logged; one for all clients, as this server is made to be tested by one."""


@dataclass(frozen=True)
class Call:
    """One call of a tool, and whom it may talk to meanwhile."""

    ctx: Context
    params: types.CallToolRequestParams
    state: State

    @property
    def arguments(self) -> dict[str, Any]:
        """What the tool was given."""
        return self.params.arguments or {}

    async def log(self, text: str, level: types.LoggingLevel = "info") -> None:
        """Send a log message, unless the client wants only worse ones."""
        levels: tuple[types.LoggingLevel, ...] = types.LoggingLevel.__args__  # type: ignore[attr-defined]
        if levels.index(level) >= levels.index(self.state.log_level):
            await self.ctx.session.send_log_message(level, text, "conformance", self.ctx.request_id)


Result = types.CallToolResult
Handler = Callable[[Call], Awaitable[Result]]
TOOLS: dict[str, tuple[types.Tool, Handler]] = {}


def tool(name: str, description: str, schema: dict[str, Any] = NO_ARGUMENTS) -> Callable[[Handler], Handler]:
    """Put a handler on the list of tools."""

    def add(handler: Handler) -> Handler:
        TOOLS[name] = types.Tool(name=name, description=description, input_schema=schema), handler
        return handler

    return add


def text(said: str, *others: types.ContentBlock) -> Result:
    """A result that says something, and shows the other blocks too."""
    return Result(content=[types.TextContent(type="text", text=said), *others])


def embedded(uri: str, mime_type: str, said: str) -> types.EmbeddedResource:
    """A resource inside a result."""
    held = types.TextResourceContents(uri=uri, mime_type=mime_type, text=said)
    return types.EmbeddedResource(type="resource", resource=held)


@tool("test_simple_text", "Gives a text.")
async def simple_text(_: Call) -> Result:
    """One text block."""
    return text("This is a simple text response for testing.")


@tool("test_image_content", "Gives a picture.")
async def image(_: Call) -> Result:
    """One image block."""
    return Result(content=[types.ImageContent(type="image", data=PIXEL, mime_type="image/png")])


@tool("test_audio_content", "Gives a recording.")
async def audio(_: Call) -> Result:
    """One audio block."""
    return Result(content=[types.AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")])


@tool("test_embedded_resource", "Gives a resource.")
async def embedded_resource(_: Call) -> Result:
    """One embedded resource."""
    said = "This is an embedded resource content."
    return Result(content=[embedded("test://embedded-resource", "text/plain", said)])


@tool("test_multiple_content_types", "Gives text, a picture and a resource.")
async def mixed(_: Call) -> Result:
    """Three kinds of blocks in one result."""
    picture = types.ImageContent(type="image", data=PIXEL, mime_type="image/png")
    data = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return text("Multiple content types test:", picture, data)


@tool("test_error_handling", "Always fails.")
async def error_handling(_: Call) -> Result:
    """A failed call is a result too."""
    said = types.TextContent(type="text", text="This tool intentionally returns an error for testing")
    return Result(content=[said], is_error=True)


@tool("test_tool_with_logging", "Logs three messages while it works.")
async def with_logging(call: Call) -> Result:
    """Log messages that belong to a call."""
    await call.log("Tool execution started")
    await anyio.sleep(PAUSE)
    await call.log("Tool processing data")
    await anyio.sleep(PAUSE)
    await call.log("Tool execution completed")
    return text("Tool with logging executed successfully")


@tool("test_logging_tool", "Logs one message.")
async def logging_tool(call: Call) -> Result:
    """The stateless protocol sends the message only to those who asked for it with this very request."""
    await call.log("Only for those who want to hear it")
    return text("Logged.")


@tool("test_tool_with_progress", "Reports its progress.")
async def with_progress(call: Call) -> Result:
    """Three steps to the whole."""
    for done in (0, 50, 100):
        await call.ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        await anyio.sleep(PAUSE)
    return text("Tool with progress executed successfully")


@tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", DIALECT)
async def json_schema(call: Call) -> Result:
    """Only its schema matters."""
    return text(f"JSON Schema 2020-12 tool called with: {call.arguments}")


REGION = {"region": {"type": "string", "description": "Where to look", "x-mcp-header": "Region"}}


@tool("test_custom_header", "Has a parameter that travels as a header too.", {"type": "object", "properties": REGION})
async def custom_header(call: Call) -> Result:
    """The SDK compares header and argument before the call arrives here."""
    return text(f"Region: {call.arguments.get('region', 'none')}")


@tool("test_reconnection", "Closes its stream while it works; the client fetches the result later.")
async def reconnection(call: Call) -> Result:
    """Where the transport has such streams (HTTP up to 2025-11-25 with stored events)."""
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
    await anyio.sleep(2 * PAUSE)
    return text("Reconnection test completed successfully")


@tool("test_trigger_tool_change", "Adds a tool, or takes it away again.")
async def tool_change(call: Call) -> Result:
    """Told to this client, and to everybody who listens."""
    call.state.extra_tool = not call.state.extra_tool
    await call.state.bus.publish(ToolsListChanged())
    await call.ctx.session.send_tool_list_changed()
    return text("The list of tools has changed.")


@tool("test_trigger_prompt_change", "Adds a prompt, or takes it away again.")
async def prompt_change(call: Call) -> Result:
    """Told to this client, and to everybody who listens."""
    call.state.extra_prompt = not call.state.extra_prompt
    await call.state.bus.publish(PromptsListChanged())
    await call.ctx.session.send_prompt_list_changed()
    return text("The list of prompts has changed.")


DYNAMIC_TOOL = types.Tool(
    name="test_dynamic_tool", description="Comes and goes with test_trigger_tool_change.", input_schema=NO_ARGUMENTS
)


async def dynamic(_: Call) -> Result:
    """What the tool that comes and goes says."""
    return text("Still here.")
