"""Ways from a client to the fixture server: straight, and through the gateway, over every transport in both eras."""

from __future__ import annotations

import functools
import itertools
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import mcp.types as t
import pytest
import uvicorn
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.server.runner import serve_dual_era_loop
from mcp.server.sse import SseServerTransport
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

from mcp_dualtune.config import Config, HttpSettings, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.http import web_application
from mcp_dualtune.mcp_server.server import build_server
from tests.passthrough.fixture_server import make_server

HERE = Path(__file__).parent
FIXTURE = HERE / "fixture_server.py"
START_LIMIT = 120


LIMIT = 30


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """No test may hang. Around the test alone: a fixture's limit would end the fixtures of the whole module."""

    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> None:
        with anyio.fail_after(LIMIT):
            await test(*arguments, **named)

    return run


@dataclass(frozen=True)
class Way:
    """How a client reaches the fixture server."""

    through: bool
    front: str
    """The client's transport."""
    mode: str
    """The client's era."""
    back: str = "memory"
    """The gateway's transport to the fixture server."""
    back_mode: str = "legacy"

    def __str__(self) -> str:
        direct = f"{self.front}-{self.mode}"
        return f"{direct}-through-{self.back}-{self.back_mode}" if self.through else f"{direct}-direct"


ERAS = ("legacy", "auto")
WAYS = [
    *(Way(False, front, mode) for front in ("memory", "stdio", "http") for mode in ERAS),
    Way(False, "sse", "legacy"),
    *(
        Way(True, front, mode, "stdio", back_mode)
        for front, mode, back_mode in itertools.product(("memory", "stdio", "http"), ERAS, ERAS)
    ),
    *(Way(True, "memory", mode, "http", back_mode) for mode, back_mode in itertools.product(ERAS, ERAS)),
    *(Way(True, "memory", mode, "sse", "legacy") for mode in ERAS),
    Way(True, "sse", "legacy", "sse", "legacy"),
]


@dataclass
class User:
    """The person at the client: what was asked, and everything else that arrived."""

    asked: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    heard: anyio.Event = field(default_factory=anyio.Event)
    name: str = "Eva"

    async def elicit(self, context: Any, params: Any) -> t.ElicitResult:
        self.asked.append(params)
        content = {"name": self.name} if params.mode == "form" else None
        return t.ElicitResult(action="accept", content=content)

    async def sample(self, context: Any, params: Any) -> t.CreateMessageResult:
        self.asked.append(params)
        return t.CreateMessageResult(
            role="assistant", content=t.TextContent(text="hi"), model="m", stop_reason="endTurn"
        )

    async def roots(self, context: Any) -> t.ListRootsResult:
        return t.ListRootsResult(roots=[t.Root(uri=f"file:///{self.name}", name="home")])

    async def log(self, params: Any) -> None:
        self.logs.append((params.level, params.data, params.logger))

    async def message(self, message: Any) -> None:
        self.told.append(message)
        heard, self.heard = self.heard, anyio.Event()
        heard.set()

    async def until(self, kind: type, count: int = 1) -> None:
        """Wait until so many messages of a kind have come."""
        while sum(isinstance(message, kind) for message in self.told) < count:
            await self.heard.wait()

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
            "logging_callback": self.log,
            "message_handler": self.message,
        }


@dataclass
class Door:
    """One way, open."""

    way: Way
    target: Any
    """What a client connects to."""
    gateway: Gateway | None = None

    def connect(self, **callbacks: Any) -> Client:
        """A client that is not connected yet."""
        target = sse_client(self.target) if self.way.front == "sse" else self.target
        return Client(target, mode=self.way.mode, **callbacks)  # type: ignore[arg-type]

    def name(self, own: str) -> str:
        """What the client calls a tool or prompt of the fixture server."""
        return f"fixture__{own}" if self.way.through else own

    @property
    def modern(self) -> bool:
        return self.way.mode == "auto"


@asynccontextmanager
async def serve_app(app: Any, path: str) -> AsyncIterator[str]:
    """A web application on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, log_level="error", lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
        finally:
            server.should_exit = True


def sse_app(server: Any) -> Starlette:
    """The fixture server over the older HTTP transport."""
    transport = SseServerTransport("/messages/")

    async def connect(request: Any) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            options = server.create_initialization_options()
            await serve_dual_era_loop(server, read, write, lifespan_state={}, init_options=options)
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/messages/", app=transport.handle_post_message)])


@asynccontextmanager
async def fixture_over(transport: str) -> AsyncIterator[Any]:
    """The fixture server, reachable over a transport: a server object, a command or a URL."""
    if transport == "memory":
        yield make_server()
    elif transport == "stdio":
        yield StdioServerParameters(command=sys.executable, args=[str(FIXTURE)])
    elif transport == "http":
        async with serve_app(make_server().streamable_http_app(), "/mcp") as url:
            yield url
    else:
        async with serve_app(sse_app(make_server()), "/sse") as url:
            yield url


def entry(transport: str, target: Any) -> dict[str, Any]:
    """The fixture server as the gateway's config names it."""
    if transport == "stdio":
        return {"name": "fixture", "transport": "stdio", "command": target.command, "args": target.args}
    return {"name": "fixture", "transport": transport, "url": target}


@asynccontextmanager
async def gateway_to(*servers: ServerConfig, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway without a model that shows everything."""
    config = Config(servers, Settings(**{"expose": "all", **settings}))
    async with Gateway(config, pipeline=cast(Any, lambda: None)) as gateway:
        with anyio.fail_after(START_LIMIT):
            await gateway.wait_ready()
        yield gateway


@asynccontextmanager
async def open_door(way: Way) -> AsyncIterator[Door]:
    """Open one way."""
    async with AsyncExitStack() as stack:
        if not way.through:
            yield Door(way, await stack.enter_async_context(fixture_over(way.front)))
            return
        back = await stack.enter_async_context(fixture_over(way.back))
        named = entry(way.back, back)
        if way.front == "stdio":
            script = str(HERE / "gateway_over_stdio.py")
            arguments = [script, json.dumps({**named, "mode": way.back_mode})]
            yield Door(way, StdioServerParameters(command=sys.executable, args=arguments, env={"PYTHONPATH": ROOT}))
            return
        options = ServerOptions(start_timeout=START_LIMIT, mode=way.back_mode)  # type: ignore[arg-type]
        named["args"] = tuple(named.get("args", ()))
        gateway = await stack.enter_async_context(gateway_to(ServerConfig(options=options, **named)))
        server = build_server(gateway, one_user=way.front == "memory")
        if way.front == "memory":
            yield Door(way, server, gateway)
            return
        app = web_application(server, cast(Any, way.front), HttpSettings())
        url = await stack.enter_async_context(serve_app(app, {"http": "/mcp", "sse": "/sse"}[way.front]))
        yield Door(way, url, gateway)


ROOT = str(HERE.parents[1])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For the module, so that a door can stay open as long."""
    return "asyncio"


@pytest.fixture(scope="module", params=WAYS, ids=str)
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    """Every way in turn."""
    async with open_door(request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def person() -> User:
    """The person at the module's client."""
    return User()


@pytest.fixture(scope="module")
async def shared_client(door: Door, person: User) -> AsyncIterator[Client]:
    """One client for each door: over stdio every client starts processes."""
    async with door.connect(**person.callbacks, log_level="info" if door.modern else None) as client:
        yield client


@pytest.fixture
def user(person: User) -> User:
    """The person, who has forgotten what was before."""
    person.asked, person.logs, person.told = [], [], []
    return person


@pytest.fixture
def client(shared_client: Client, user: User) -> Client:
    """The door's client, whose person has forgotten what was before."""
    return shared_client
