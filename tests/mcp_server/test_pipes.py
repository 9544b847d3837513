"""Messages over a process's standard input and output, whatever stands at the other end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows goes the SDK's way")
LIMIT = 60
ECHO = """
import os, subprocess, sys, anyio
from mcp_dualtune.mcp_server.pipes import stdio_streams

async def main():
    async with stdio_streams() as (read, write):
        print("stray", flush=True)
        subprocess.run(["echo", "from a child"])
        print("read:", repr(sys.stdin.read()), file=sys.stderr)
        async with read, write:
            async for item in read:
                if isinstance(item, Exception):
                    print("refused:", type(item).__name__, file=sys.stderr)
                else:
                    await write.send(item)

anyio.run(main)
"""
COMMAND = [sys.executable, "-c", ECHO]


def message(number: int, text: str = "") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "x", "params": {"text": text}}).encode()


def numbers(output: bytes) -> list[Any]:
    return [json.loads(line)["id"] for line in output.splitlines()]


def test_messages_come_back_whole_and_nothing_else_reaches_the_client() -> None:
    long = message(3, "é" * 1_000_000)
    given = b"\n".join([message(1), b"{not json", b"\xff\xfe", long, message(4)])
    done = subprocess.run(COMMAND, input=given, capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert numbers(done.stdout) == [1, 3, 4]
    assert json.loads(done.stdout.splitlines()[1]) == json.loads(long)
    said = done.stderr.decode()
    assert "stray" in said and "from a child" in said and "read: ''" in said and said.count("refused:") == 2


def test_a_socket_serves_as_well_as_pipes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(LIMIT)
        ours.sendall(message(1) + b"\n")
        assert numbers(ours.makefile("rb").readline()) == [1]
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(LIMIT) == 0


def test_files_go_the_sdks_way(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(message(1) + b"\n")
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as taken:
        subprocess.run(COMMAND, stdin=given, stdout=taken, stderr=subprocess.DEVNULL, timeout=LIMIT, check=True)
    assert numbers((tmp_path / "out").read_bytes()) == [1]


def test_a_client_that_is_gone_ends_it() -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    process.stdout.close()
    # More than any pipe holds: what is answered cannot be written any more.
    process.stdin.write(message(1, "x" * 500_000) + b"\n")
    process.stdin.close()
    assert process.wait(LIMIT) == 0
