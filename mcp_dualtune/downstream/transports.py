"""From a config entry to an open stream of MCP messages: stdio, Streamable HTTP or SSE.

Owns choosing and opening the transport and saying in words how the other side looks. Refuses to own: the handshake,
calls, restarts.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_dualtune.config import ServerConfig, child_environment
from mcp_dualtune.downstream.oauth import StoredToken, takes_login
from mcp_dualtune.downstream.resolved import resolved
from mcp_dualtune.downstream.stdio import ChildProcess
from mcp_dualtune.errors import DownstreamError, ServerUnavailable

HTTP_CONNECT_SECONDS = 30.0
"""Connecting and sending; answers are bounded by the limits of each call instead."""
PATIENCE_SECONDS = 900.0
"""Silence beyond a call's limit after which a request that the server never ended is given up: longer than a person
may think about a question."""
END_SECONDS = 0.2
"""For the end of a stream after its answer; it usually comes with it."""
KEPT_CONNECTIONS = 100
"""Idle connections to one server that are kept for the next calls."""
SSE_IDLE_SECONDS = 86_400.0

Streams = tuple[Any, Any]
"""The read and the write stream of the SDK, which carry `SessionMessage` items."""


class Link(Protocol):
    """One way to one server, open for one connection."""

    @property
    def pid(self) -> int | None:
        """Process id of the server that we started; None for a remote one."""
        ...

    @property
    def failure(self) -> DownstreamError | None:
        """What the link itself knows to be wrong, such as a login that is needed; it explains every other error."""
        ...

    @property
    def denied(self) -> DownstreamError | None:
        """Why the server has just refused one request, though not the connection."""
        ...

    @property
    def hint(self) -> str:
        """What the user can do about a fault of this link; may be empty."""
        ...

    def account(self) -> str:
        """What can be said of the other side when something went wrong: last words, exit status; may be empty."""
        ...

    def streams(self) -> AbstractAsyncContextManager[Streams]:
        """Open the streams; on exit everything behind them is gone within seconds."""
        ...


def make_link(config: ServerConfig) -> Link:
    """Prepare, without starting anything, the way to the server of a config entry."""
    if config.transport == "stdio":
        return _WindowsLink(config) if sys.platform == "win32" else ChildProcess(config)
    return _RemoteLink(config)


class _RemoteLink:
    pid = None

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._refusal: int | None = None
        self._token: StoredToken | None = None

    @property
    def failure(self) -> DownstreamError | None:
        return self._token.failure if self._token is not None else None

    @property
    def denied(self) -> DownstreamError | None:
        return self._token.denied if self._token is not None else None

    @property
    def hint(self) -> str:
        refused = self._refusal in (401, 403)
        return 'Check the token in "headers" of this server.' if refused else ""

    def account(self) -> str:
        return f"It answered HTTP {self._refusal}." if self._refusal else ""

    async def _look_at(self, response: httpx2.Response) -> None:
        if _answers_as_stream(response) and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _ReadToItsEnd(response.stream)
        # The SDK turns a refused request into one generic message; the number says what to do.
        self._refusal = response.status_code if response.status_code in (401, 403, 404) else None

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        config = await resolved(self.config)
        url, headers = str(config.url), dict(config.headers)
        if not url.startswith(("http://", "https://")):
            hint = "It has to begin with http:// or https://."
            raise ServerUnavailable(f'What "{config.name}" has for a url is no web address.', hint=hint)
        self._token = auth = StoredToken(config) if takes_login(config) else None
        if self.config.transport == "sse":
            async with sse_client(url, headers, HTTP_CONNECT_SECONDS, SSE_IDLE_SECONDS, auth=auth) as opened:
                yield opened
            return
        silence = self.config.options.call_timeout + PATIENCE_SECONDS

        async def bound(request: httpx2.Request) -> None:
            # The standing streams for news may be silent for ever; an answer may not.
            if request.method == "POST" and request.headers.get("mcp-method") != "subscriptions/listen":
                request.extensions["timeout"]["read"] = silence

        hooks: dict[str, list[Any]] = {"request": [bound], "response": [self._look_at]}
        timeout = httpx2.Timeout(HTTP_CONNECT_SECONDS, read=None)
        # Every running call holds a connection; none may wait for another's end, which can be hours away.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)
        async with (
            httpx2.AsyncClient(headers=headers, auth=auth, timeout=timeout, limits=limits, event_hooks=hooks) as client,
            # One event can be one whole result; its size is the server's business, as on stdio.
            streamable_http_client(url, http_client=client, max_sse_event_size=None) as opened,
        ):
            yield opened


class _ReadToItsEnd(httpx2.AsyncByteStream):
    """A stream whose last bytes are read when it is closed.

    The SDK closes an answer's stream as soon as the answer is there, a moment before its end. A connection that was not
    read to the end cannot be used again, so every call would open another.
    """

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner, self._rest = inner, aiter(inner)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._rest

    async def aclose(self) -> None:
        """Read what little is left, and close."""
        try:
            with anyio.move_on_after(END_SECONDS):
                async for _ in self._rest:
                    pass
        except (httpx2.HTTPError, httpx2.StreamError):
            pass  # Whoever wanted to read it has been told.
        finally:
            await self._inner.aclose()


def _answers_as_stream(response: httpx2.Response) -> bool:
    request = response.request
    is_answer = request.method == "POST" and request.headers.get("mcp-method") != "subscriptions/listen"
    return is_answer and response.headers.get("content-type", "").startswith("text/event-stream")


class _WindowsLink:
    """The SDK puts the process into a job that Windows ends with us, so that no launcher is needed there."""

    pid = failure = denied = None
    hint = ""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config

    def account(self) -> str:
        return ""

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        config = await resolved(self.config)
        environment = child_environment(config.env)
        parameters = StdioServerParameters(
            command=str(config.command), args=list(config.args), env=environment, cwd=config.cwd
        )
        async with stdio_client(parameters) as opened:
            yield opened
