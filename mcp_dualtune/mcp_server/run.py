"""The life of a serving process: start, serve over stdio, HTTP or SSE, and leave without leaving anything behind.

Owns signals and the order of shutdown. Refuses to own the handlers (`server`) and the sockets (`http`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
import uvicorn

from mcp_dualtune.config import HttpSettings
from mcp_dualtune.mcp_server.further import FurtherTool
from mcp_dualtune.mcp_server.http import WebTransport, open_socket, web_address, web_application
from mcp_dualtune.mcp_server.pipes import stdio_streams
from mcp_dualtune.mcp_server.server import GatewayServer, build_server

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway

CLOSE_LIMIT = 20.0
"""Seconds until a process that cannot close in order ends anyway; the pool has a shorter limit of its own."""
DRAIN_LIMIT = 2
"""Seconds that open HTTP answers have to end once the server stops."""
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Serve = Callable[[GatewayServer], Awaitable[None]]


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers: this module has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers as they are."""
        yield


async def serve_stdio(gateway: Gateway, further: Sequence[FurtherTool] = ()) -> None:
    """Serve one client on stdin and stdout until it closes stdin, or a signal ends the process.

    `further` tools of ours are offered beside the usual ones.
    """

    async def serve(server: GatewayServer) -> None:
        async with stdio_streams() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    await _live(gateway, serve, further, one_user=True)


async def serve_web(
    gateway: Gateway,
    transport: WebTransport,
    settings: HttpSettings,
    announce: Callable[[str], None],
    further: Sequence[FurtherTool] = (),
) -> None:
    """Serve any number of clients over HTTP until a signal ends the process; `announce` gets the address.

    Raises:
        ConfigError: the address cannot be used.
    """
    listener = open_socket(settings)

    async def serve(server: GatewayServer) -> None:
        config = uvicorn.Config(
            web_application(server, transport, settings),
            log_config=None,
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=DRAIN_LIMIT,
        )
        announce(web_address(listener, transport))
        await _Web(config).serve(sockets=[listener])

    with listener:
        await _live(gateway, serve, further)


async def _live(gateway: Gateway, serve: Serve, further: Sequence[FurtherTool] = (), *, one_user: bool = False) -> None:
    """Run `serve` beside the gateway; when it ends or a signal comes, the task that opened the gateway closes it."""
    done = anyio.Event()
    caught: list[int] = []
    failed: list[Exception] = []

    async def serving() -> None:
        try:
            await serve(build_server(gateway, one_user=one_user, further=further))
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    async def watching() -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if caught:
                    # The user does not want to wait for the servers; their launchers end them.
                    _leave(128 + number)
                caught.append(number)
                done.set()

    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            tasks.start_soon(watching)
        async with gateway:
            tasks.start_soon(serving)
            await done.wait()
            # A thread of its own, so that not even a blocked event loop can keep the process alive.
            guard = threading.Timer(CLOSE_LIMIT, _leave, [128 + caught[0] if caught else 1])
            guard.daemon = True
            guard.start()
        if not failed:
            # At once, because two threads would be waited for otherwise: the transport's, which reads the next line of
            # stdin, and the engine's, which may still be loading the model.
            _leave(128 + caught[0] if caught else 0)
        guard.cancel()
        tasks.cancel_scope.cancel()
    raise failed[0]


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
