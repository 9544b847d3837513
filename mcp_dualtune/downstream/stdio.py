"""A server that we start ourselves and talk to over its standard input and output (POSIX).

Owns the process (through `launcher`), framing, size limits, and the server's last words for error messages. Refuses to
own: what the messages mean.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import mcp.types as wire_types
from mcp.shared.message import SessionMessage

from mcp_dualtune.config import ServerConfig, child_environment, mask
from mcp_dualtune.downstream.resolved import resolved
from mcp_dualtune.errors import ServerUnavailable

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
"""Longest line from a server; a longer one ends the connection, because it would end our memory."""
MAX_STRAY_LINES = 1_000
"""Lines on standard output that are no MCP message before we stop listening; a banner has a few."""
LAST_LINES, LAST_LINE_CHARACTERS = 12, 300
UNFINISHED_LINE_BYTES = 8_192
"""What is kept of a line that does not end: more than we show, so that no secret is cut before it is masked."""
CLOSE_SECONDS = 5.0
"""The launcher needs at most four to end everything."""
LAST_WORDS_SECONDS = 0.5
"""For what the ended process said last to arrive here."""
LAUNCHER = Path(__file__).with_name("launcher.py")
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, ConnectionError)

logger = logging.getLogger(__name__)


class ChildProcess:
    """One run of one server's process; `streams` may be entered once."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.pid: int | None = None
        self.exit_status: int | None = None
        self.fault: str | None = None
        self.failure = self.denied = None
        self.hint = ""
        self._heard_launcher, self._heard_server = anyio.Event(), anyio.Event()
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._stray, self._stray_lines = "", 0

    def account(self) -> str:
        """Say in a few lines how the process looks: its fault, exit status, stray output and last words."""
        parts = [self.fault] if self.fault else []
        if self.exit_status is not None:
            how = f"signal {-self.exit_status}" if self.exit_status < 0 else f"status {self.exit_status}"
            parts.append(f"It ended with {how}.")
        if self._stray:
            parts.append(f"It wrote to standard output what is not MCP: {self._stray!r}.")
        if self._said:
            parts.append("Its last words: " + " | ".join(self._said))
        return " ".join(parts)

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[Any, Any]]:
        """Start the process and open its streams; on exit the process and all its offspring are gone.

        Raises:
            ServerUnavailable: the command cannot be started, or a secret it needs cannot be had.
        """
        config = await resolved(self.config)
        ours, theirs = socket.socketpair()
        try:
            process = await self._start(config, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        to_session, from_process = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        from_session, to_process = anyio.create_memory_object_stream[SessionMessage](0)
        # From here on every way out runs the shielded end below: no await between the start and the task group.
        async with anyio.create_task_group() as group:
            try:
                group.start_soon(self._listen_to_launcher, ours)
                group.start_soon(self._keep_last_words, process)
                group.start_soon(self._read, process, to_session)
                group.start_soon(self._write, process, to_process, to_session)
                yield from_process, from_session
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end(process, ours)
                    anyio.notify_closing(ours)
                    ours.close()
                    for stream in (to_session, from_process, from_session, to_process):
                        stream.close()
                group.cancel_scope.cancel()

    async def _start(self, config: ServerConfig, control: socket.socket) -> anyio.abc.Process:
        if config.cwd is not None and not config.cwd.is_dir():
            hint = f'Correct "cwd" of "{config.name}" in the config.'
            raise ServerUnavailable(f"The working directory {config.cwd} does not exist.", hint=hint)
        number = control.fileno()
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(number), str(os.getpid())]
        try:
            # Cancelled halfway, it would leave the process and its pipes to nobody. It cannot take long: only the
            # launcher starts here, the command itself later.
            with anyio.CancelScope(shield=True):
                process = await anyio.open_process(
                    [*launch, str(config.command), *config.args],
                    env=child_environment(config.env),
                    cwd=config.cwd,
                    start_new_session=True,
                    pass_fds=(number,),
                )
        except (OSError, ValueError) as error:
            raise ServerUnavailable(f"Cannot start {config.command}: {error}.", hint=self._start_hint()) from error
        return process

    def _start_hint(self) -> str:
        return f'Check "command", "args" and PATH of "{self.config.name}"; an absolute path is safest.'

    async def _end(self, process: anyio.abc.Process, control: socket.socket) -> None:
        """Order the end and wait for it; the launcher is killed with its whole group if it does not keep the limit."""
        with suppress(*_CLOSED, OSError), anyio.move_on_after(0.5):
            assert process.stdin is not None
            await process.stdin.aclose()
        with suppress(OSError):
            # Half closed: the order to end goes out, the exit status can still come in.
            control.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(CLOSE_SECONDS):
            # Not `process.wait()`, which on asyncio also waits for pipes that a survivor may hold.
            while process.returncode is None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            await self._heard_launcher.wait()
            await self._heard_server.wait()
        if process.returncode is None or process.returncode < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(*_CLOSED, OSError), anyio.move_on_after(1.0):
            await process.aclose()

    async def _listen_to_launcher(self, control: socket.socket) -> None:
        control.setblocking(False)
        heard = b""
        try:
            while True:
                await anyio.wait_readable(control)
                chunk = control.recv(256)
                if not chunk:
                    return
                *lines, heard = (heard + chunk).split(b"\n")
                for line in lines:
                    self._note(line.decode())
        except (*_CLOSED, OSError):
            return
        finally:
            self._heard_launcher.set()

    def _note(self, line: str) -> None:
        word, _, number = line.partition(" ")
        if word == "pid":
            self.pid = int(number)
        elif word == "exit":
            self.exit_status, self.pid = int(number), None
        elif word == "error":
            self.fault = f"Cannot start {self.config.command}: {os.strerror(int(number))}."
            self.hint = self._start_hint()

    async def _keep_last_words(self, process: anyio.abc.Process) -> None:
        assert process.stderr is not None
        rest = b""
        try:
            async for chunk in process.stderr:
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-UNFINISHED_LINE_BYTES:]
                self._hear(lines[-LAST_LINES:])
        except _CLOSED:
            return
        finally:
            self._hear([rest])
            self._heard_server.set()

    def _hear(self, lines: list[bytes]) -> None:
        for line in lines:
            text = mask(line.decode("utf-8", "replace")).strip()[:LAST_LINE_CHARACTERS]
            if text:
                self._said.append(text)
                logger.debug("%s: %s", self.config.name, text)

    async def _read(self, process: anyio.abc.Process, to_session: Any) -> None:
        """Pass on one message a line; chunks are joined once a line is whole, so that long lines cost linear time."""
        assert process.stdout is not None
        parts: list[bytes] = []
        size = 0
        with suppress(*_CLOSED):
            async with to_session:
                async for chunk in process.stdout:
                    *ends, rest = chunk.split(b"\n")
                    for end in ends:
                        line = b"".join([*parts, end])
                        parts, size = [], 0
                        await self._pass_on(line, to_session)
                    parts.append(rest)
                    size += len(rest)
                    if size > MAX_MESSAGE_BYTES:
                        limit = MAX_MESSAGE_BYTES // (1024 * 1024)
                        self.fault = f"It sent one message of more than {limit} MiB, which is refused."
                    if self.fault:
                        break
        with suppress(*_CLOSED):
            while True:
                # A server that cannot get rid of its output cannot see its input end either.
                await process.stdout.receive()

    async def _pass_on(self, line: bytes, to_session: Any) -> None:
        if not line.strip() or self.fault:
            return
        try:
            message = wire_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._stray = (
                self._stray or mask(line[:UNFINISHED_LINE_BYTES].decode("utf-8", "replace"))[:LAST_LINE_CHARACTERS]
            )
            self._stray_lines += 1
            if self._stray_lines > MAX_STRAY_LINES:
                self.fault = "It keeps writing to standard output what is not MCP."
            # Other tasks must not wait for a flood of nonsense.
            await anyio.lowlevel.checkpoint()
            return
        await to_session.send(SessionMessage(message))

    async def _write(self, process: anyio.abc.Process, to_process: Any, to_session: Any) -> None:
        assert process.stdin is not None
        try:
            async with to_process:
                async for item in to_process:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode("utf-8", "replace") + b"\n")
        except (*_CLOSED, OSError):
            # Without its input the server is of no use: let the session see the end instead of waiting for ever.
            await to_session.aclose()
