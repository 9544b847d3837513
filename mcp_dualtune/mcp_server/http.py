"""The MCP server as a web application: Streamable HTTP (both eras), or the older SSE transport.

Owns the socket, who may connect (host names, bearer token) and the application. Refuses to own process life (`run`).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from mcp.server.runner import serve_dual_era_loop
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_dualtune.config import HttpSettings
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.mcp_server.conversation import Conversations
from mcp_dualtune.mcp_server.replay import Sessions
from mcp_dualtune.mcp_server.server import GatewayServer

WebTransport = Literal["http", "sse"]
PATHS: dict[WebTransport, str] = {"http": "/mcp", "sse": "/sse"}
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_socket(settings: HttpSettings) -> socket.socket:
    """A bound, listening socket; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be used, or is open to the network without a token.
    """
    host, port = settings.host, settings.port
    if not is_loopback(host) and not settings.token:
        raise ConfigError(
            f"Listening on {host} would let everybody on the network use your servers.",
            hint="Listen on 127.0.0.1, or leave out --no-token.",
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        hint = "Give an address of this machine with --host."
        raise ConfigError(f"{host} is not an address: {error.strerror}.", hint=hint) from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # On Windows this option would let two programs listen on one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        hint = "Stop the program that uses it, or choose another with --port (0 takes a free one)."
        raise ConfigError(f"Cannot listen on {host}:{port}: {error.strerror}.", hint=hint) from error
    return listener


def web_address(listener: socket.socket, transport: WebTransport) -> str:
    """The address to write into a client's config."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}{PATHS[transport]}"


def web_application(server: GatewayServer, transport: WebTransport, settings: HttpSettings) -> ASGIApp:
    """The application for one transport, behind the token when there is one."""
    security = _security(settings.host)
    if transport == "http":
        sessions = Sessions(server, security, settings.resume)
        route = Route(PATHS["http"], StreamableHTTPASGIApp(sessions))
        application = Starlette(routes=[route], lifespan=lambda _: sessions.run())
    else:
        application = _sse_application(server, security)
    return _TokenGate(application, settings.token) if settings.token else application


def _security(host: str) -> TransportSecuritySettings:
    """Only known host names: a web page that points its own name at this address is refused."""
    names = [*LOCAL_NAMES]
    if not is_loopback(host):
        names += [host, socket.gethostname()]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}{port}" for name in names for port in ("", ":*")],
        allowed_origins=[f"http://{name}{port}" for name in names for port in ("", ":*")],
    )


def _sse_application(server: GatewayServer, security: TransportSecuritySettings) -> Starlette:
    transport = SseServerTransport("/messages/", security_settings=security)
    # One lifespan for all connections: a question asked on one may not outlive the server.
    state: list[Conversations] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.lifespan(server) as conversations:
            state.append(conversations)
            yield

    async def connect(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await serve_dual_era_loop(
                server, read, write, lifespan_state=state[0], init_options=server.create_initialization_options()
            )
        return Response()

    routes = [Route(PATHS["sse"], connect, methods=["GET"]), Mount("/messages/", app=transport.handle_post_message)]
    return Starlette(routes=routes, lifespan=lifespan)


class _TokenGate:
    """Lets a request through only with the right bearer token."""

    def __init__(self, application: ASGIApp, token: str) -> None:
        self.application = application
        self.wanted = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scheme, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self.wanted):
                refusal = JSONResponse({"error": "unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self.application(scope, receive, send)
