"""Standard input and output as streams of MCP messages, without threads where the system allows.

The SDK's transport goes through a thread for every line it reads and twice for every message it writes. Pipes and
sockets, which is what clients give their servers, can be waited for in the event loop itself. Anything else (a
terminal, a file, Windows) goes the SDK's way. Refuses to own: what the messages mean.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, BinaryIO

import anyio
import mcp.types as mcp_types
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

CHUNK = 64 * 1024
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, ConnectionError)


@asynccontextmanager
async def stdio_streams() -> AsyncIterator[tuple[Any, Any]]:
    """What the client writes and what it reads, as streams of messages; stray output goes to stderr meanwhile."""
    if not all(_can_be_waited_for(number) for number in (0, 1)):
        async with stdio_server() as streams:
            yield streams
        return
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    with _claimed() as (stdin, stdout):
        reader, writer = await _connect(stdin, stdout)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, reader, to_server)
            tasks.start_soon(_write, writer, from_server)
            yield from_client, to_client
        writer.close()


def _can_be_waited_for(number: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def _claimed() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The client's two ends, for us alone: what others read from stdin is empty, and what they print goes to stderr."""
    sys.stdout.flush()
    stdin, stdout = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    try:
        yield stdin, stdout
    finally:
        # Duplicates of ours: the transports have closed theirs, or the process is about to end.
        with suppress(OSError):
            stdin.close()
        with suppress(OSError):
            stdout.close()


async def _connect(stdin: BinaryIO, stdout: BinaryIO) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, stdout)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


async def _read(reader: asyncio.StreamReader, to_server: Any) -> None:
    """One message a line; chunks are joined once a line is whole, so that long lines cost linear time."""
    parts: list[bytes] = []
    with suppress(*_CLOSED):
        async with to_server:
            while chunk := await reader.read(CHUNK):
                *ends, rest = chunk.split(b"\n")
                for end in ends:
                    line = b"".join([*parts, end])
                    parts = []
                    await to_server.send(_message(line))
                parts.append(rest)
            # The last line of a client that left need not be ended.
            if line := b"".join(parts).strip():
                await to_server.send(_message(line))


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        text = line.decode("utf-8", "replace")
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError as error:
        return error


async def _write(writer: asyncio.StreamWriter, from_server: Any) -> None:
    with suppress(*_CLOSED):
        async with from_server:
            async for item in from_server:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                writer.write(text.encode("utf-8", "replace") + b"\n")
                await writer.drain()
