"""The client of the suite's client scenarios: our downstream side, and the SDK's own client for comparison.

It uses everything that a scenario's server offers. Ours does so through a gateway in this process, so that the
scenario judges what the gateway says to its servers; `auth/*` is in `logins`. `stub.py` is what the suite starts; it
asks the `Clients` here.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Literal, cast

import anyio
import mcp.types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import Config, PolicyRule, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.server import build_server
from mcp_dualtune.pipeline.decide import Pipeline
from tests.conformance import logins

LIMIT = 25.0
"""Seconds; the suite gives a scenario thirty."""
MODERN = "2026-07-28"
SAMPLES: dict[str, Any] = {"string": "text", "integer": 2, "number": 2, "boolean": True, "array": [], "object": {}}
OWN = {"do", "plan", "find_tools"}
"""The gateway's own tools, which need a model."""
Mode = Literal["legacy", "auto"]
Way = Literal["SDK", "gateway"]


async def fill_in(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Accept every question with the defaults of its form, and something of the right type where there is none."""
    schema = params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else {}
    return types.ElicitResult(action="accept", content=sample(schema))


def sample(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every property of an object schema."""
    properties: dict[str, Any] = schema.get("properties", {})
    return {
        name: field.get("default", SAMPLES.get(field.get("type", "string"), "text"))
        for name, field in properties.items()
    }


async def use(client: Client, context: Mapping[str, Any]) -> None:
    """List everything, call every tool, read every resource and get every prompt."""
    tools = [tool for tool in (await client.list_tools()).tools if tool.name not in OWN]
    calls = [(call["name"], call["arguments"]) for call in context.get("toolCalls", ())]
    for name, arguments in calls or [(tool.name, sample(tool.input_schema)) for tool in tools]:
        if "schema" in arguments:
            # This one wants to see how the definition of the first tool has arrived.
            arguments["schema"] = tools[0].input_schema
        # A server may refuse what it was not made to be asked; everything else must work.
        with suppress(MCPError):
            await client.call_tool(name, arguments)
    offered = client.server_capabilities
    if offered and offered.resources:
        for resource in (await client.list_resources()).resources:
            await client.read_resource(resource.uri)
    if offered and offered.prompts:
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name)


@asynccontextmanager
async def through_gateway(url: str, mode: Mode) -> AsyncIterator[Client]:
    """A client of a gateway with this one server behind it, under its own names."""
    server = ServerConfig("peer", "http", url=url, options=ServerOptions(mode=mode, prefix="", start_timeout=LIMIT))
    settings = Settings(expose="all", policy=(PolicyRule("*/*", "allow"),))
    # Nothing is decided here, so no model is needed.
    async with Gateway(Config((server,), settings), pipeline=lambda: cast(Pipeline, object())) as gateway:
        await gateway.wait_ready()
        async with Client(build_server(gateway), mode=mode, elicitation_callback=fill_in) as client:
            yield client


async def run(way: Way, url: str, scenario: str, version: str, context: Mapping[str, Any]) -> None:
    """Use what is at `url` in the protocol era that the suite asks for."""
    mode: Mode = "auto" if version >= MODERN else "legacy"
    if scenario.startswith("auth/"):
        with anyio.fail_after(LIMIT):
            await logins.LOGINS[way](logins.Scenario(scenario, url, mode, context))
        return
    opened = through_gateway(url, mode) if way == "gateway" else Client(url, mode=mode, elicitation_callback=fill_in)
    with anyio.fail_after(LIMIT):
        async with opened as client:
            await use(client, context)


class _Handler(StreamRequestHandler):
    """One scenario: its address comes in, and what went wrong goes out."""

    def handle(self) -> None:
        """Be the client until the scenario is through."""
        wanted = json.loads(self.rfile.readline())
        try:
            anyio.run(lambda: run(**wanted))
        except Exception:
            self.wfile.write(traceback.format_exc().encode())


@contextmanager
def clients() -> Iterator[int]:
    """The port at which `stub.py` finds its clients."""
    with ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()
