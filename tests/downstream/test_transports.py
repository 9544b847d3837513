"""The same calls over every transport, against servers in this process."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from examples.servers.notes import make_server
from mcp_dualtune.config import ServerConfig, ServerOptions
from mcp_dualtune.downstream.connection import Connection
from mcp_dualtune.downstream.pool import Pool
from mcp_dualtune.errors import ServerUnavailable
from tests.downstream.servers import SERVERS, connected, notes

pytestmark = pytest.mark.anyio


class Recorder:
    """An ASGI application in front of another: keeps the headers that arrive."""

    def __init__(self, app: Any) -> None:
        self.app, self.tokens = app, set[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.tokens.add(dict(scope["headers"]).get(b"authorization", b"").decode())
        await self.app(scope, receive, send)


@asynccontextmanager
async def serving(app: Any, listener: socket.socket | None = None) -> AsyncIterator[int]:
    """Serve an application on a loopback port, or on a socket that listens already, while the block runs."""
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    # Closed also when the block fails: the sockets of a failed test must not be found in the next one.
    with closing(listener or socket.create_server(("127.0.0.1", 0))) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            with anyio.fail_after(60):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for this
                    await anyio.sleep(0.01)
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = server.force_exit = True


def remote(kind: str, port: int, mode: str = "legacy", **headers: str) -> ServerConfig:
    path = "sse" if kind == "sse" else "mcp"
    options = ServerOptions(mode=mode, call_timeout=60)  # type: ignore[arg-type]
    url = f"http://127.0.0.1:{port}/{path}"
    return ServerConfig("notes", kind, url=url, headers=headers, options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("stdio", "legacy"), ("stdio", "auto"), ("http", "legacy"), ("http", "auto"), ("sse", "legacy"), ("sse", "auto")],
)
async def test_the_same_call_works_everywhere(tmp_path: Path, kind: str, mode: str) -> None:
    async def check(config: ServerConfig) -> None:
        async with connected(config) as server:
            assert len(server.tools) == 6
            assert (server.pid is None) == (kind != "stdio")
            await server.call("add_note", {"title": "a", "text": "buy milk"})
            found = await server.call("search_notes", {"query": "milk"})
            assert found.structured == {"result": ["a"]}
            assert (await server.call("read_note", {"title": "b"})).is_error

    if kind == "stdio":
        await check(notes(tmp_path, mode=mode))
        return
    server = make_server(tmp_path)
    app = Recorder(server.sse_app() if kind == "sse" else server.streamable_http_app())
    async with serving(app) as port:
        await check(remote(kind, port, mode, Authorization="Bearer open sesame"))
    assert app.tokens == {"Bearer open sesame"}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_large_result_arrives_over_http(tmp_path: Path, mode: str) -> None:
    (tmp_path / "long.txt").write_text("x" * 8_000_000)
    async with (
        serving(make_server(tmp_path).streamable_http_app()) as port,
        connected(remote("http", port, mode)) as server,
    ):
        result = await server.call("read_note", {"title": "long"})
    assert len(result.text) == 8_000_000


async def test_a_result_too_large_for_sse_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 3_000_000)
    async with serving(make_server(tmp_path).sse_app()) as port, Pool([remote("sse", port)]) as pool:
        await pool.wait(90)
        with pytest.raises(ServerUnavailable, match=r"lost during.*limit"):
            await pool.call("notes", "read_note", {"title": "long"})
        assert not (await pool.call("notes", "list_notes", {})).is_error


async def test_a_refused_token_is_named() -> None:
    async def refuse(request: Request) -> PlainTextResponse:
        return PlainTextResponse("no", status_code=401)

    app = Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST"])])
    async with serving(app) as port:
        for kind in ("http", "sse"):
            with anyio.fail_after(60), pytest.raises(ServerUnavailable, match="HTTP 401") as caught:
                await Connection(remote(kind, port)).run()
            assert "headers" in caught.value.hint


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_remote_server_that_comes_later_and_comes_again_is_found(tmp_path: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SERVERS / "notes.py"), str(tmp_path), "--transport", kind, "--port", str(port)]
    async with Pool([remote(kind, port)]) as pool:
        await pool.wait(90)
        assert "cannot be reached" in str(pool.states()[0].error)
        for _ in range(2):
            process = await anyio.open_process(command, stdin=None, stdout=None, stderr=None)
            try:
                assert await answered(pool)
            finally:
                process.kill()
                await process.wait()


async def answered(pool: Pool) -> bool:
    """Call until the server answers; False when it does not within half a minute."""
    with anyio.move_on_after(60):
        while True:
            try:
                return not (await pool.call("notes", "list_notes", {})).is_error
            except ServerUnavailable:
                await anyio.sleep(0.1)
    return False
