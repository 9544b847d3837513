"""A small web server on this machine that a browser comes back to after a login.

Owns listening on 127.0.0.1 for one answer: its address, its `state`, and the page that the person sees. Refuses to own:
what the answer is good for (`oauth`).
"""

from __future__ import annotations

import html
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import parse_qs, urlsplit

import anyio
import uvicorn
from mcp.shared.auth import AuthorizationCodeResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from mcp_dualtune.errors import ConfigError, ServerUnavailable

PATH = "/callback"
GOODBYE_SECONDS = 2.0
"""For the page to arrive before the socket closes."""
LONGEST_REASON = 300
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>dualtune</title>
<body style="font: 1.1em sans-serif; margin: 4em auto; max-width: 32em"><h1>{title}</h1><p>{text}</p></body></html>
"""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    # The address of this page holds the code.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Redirect:
    """One wait for the browser; made by `listening`."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.uri = f"http://{self.host}{PATH}"
        self._state: str | None = None
        self._answer: AuthorizationCodeResult | None = None
        self._refusal: str | None = None
        self._answered = anyio.Event()

    def expect(self, authorization_url: str) -> None:
        """Wait for the answer to this request, and to no other."""
        self._state = parse_qs(urlsplit(authorization_url).query).get("state", [None])[0]

    async def answer(self) -> AuthorizationCodeResult:
        """What the authorization server sent the browser back with; the caller sets a limit.

        Raises:
            ServerUnavailable: it refused the login.
        """
        await self._answered.wait()
        if self._answer is None:
            hint = "Try again, and allow the access when you are asked."
            raise ServerUnavailable(f"The login was refused: {self._refusal}.", hint=hint, retryable=False)
        return self._answer

    async def receive(self, request: Request) -> HTMLResponse:
        """The page behind the redirect address."""
        given = request.query_params
        if request.headers.get("host") != self.host:
            # A web page that points a name of its own at this address.
            return _page(421, "Wrong address", "This server answers to 127.0.0.1 only.")
        expected = self._state
        state, code, error = given.get("state", ""), given.get("code", ""), given.get("error", "")
        if expected is None or not secrets.compare_digest(state.encode(), expected.encode()) or not (code or error):
            return _page(400, "Not this login", "This is not the answer to the login that was begun here.")
        if self._answered.is_set():
            return _page(409, "Already answered", "This login has had its answer.")
        if error:
            told = " ".join(f"{error} {given.get('error_description', '')}".split())
            self._refusal = "".join(letter for letter in told if letter.isprintable())[:LONGEST_REASON].strip()
        else:
            self._answer = AuthorizationCodeResult(code=code, state=state, iss=given.get("iss"))
        self._answered.set()
        if error:
            return _page(200, "The login was refused", html.escape(self._refusal or ""))
        return _page(200, "Done", "dualtune has its answer. You can close this page and go back to the terminal.")


@asynccontextmanager
async def listening(port: int | None = None, wished: int | None = None) -> AsyncIterator[Redirect]:
    """Listen while the block runs: on `port`, else on the `wished` one if it is free, else on any.

    Raises:
        ConfigError: `port` is in use.
    """
    with _open(port, wished) as listener:
        redirect = Redirect(listener.getsockname()[1])
        routes = [Route(PATH, redirect.receive, methods=["GET"])]
        application = Starlette(routes=routes)
        settings = uvicorn.Config(application, log_config=None, access_log=False, lifespan="off", ws="none")
        server = _Web(settings)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield redirect
            except Exception as error:
                # Not inside the group, which would wrap it.
                failure = error
            finally:
                server.should_exit = True
                with anyio.CancelScope(shield=True), anyio.move_on_after(GOODBYE_SECONDS):
                    await server.ended.wait()
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C ends the command, not only the wait."""

    def __init__(self, settings: uvicorn.Config) -> None:
        super().__init__(settings)
        self.ended = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers as they are."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


def _open(port: int | None, wished: int | None) -> socket.socket:
    for number in (port,) if port is not None else (wished, 0):
        if number is None:
            continue
        listener = socket.socket()
        try:
            if os.name == "posix":
                # On Windows this option would let another program take the answer.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", number))
            listener.listen(8)
            return listener
        except OSError:
            listener.close()
    hint = 'Stop the program that uses it, or change "redirect_port" of this server.'
    raise ConfigError(f"Port {port} of 127.0.0.1, which the login comes back to, is in use.", hint=hint)


def _page(status: int, title: str, text: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, text=text), status_code=status, headers=_HEADERS)
