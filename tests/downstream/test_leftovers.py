"""However we end, no process that a server started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.downstream.servers import SERVERS

ROOT = Path(__file__).parents[2]
HOST = """
import sys, anyio
from mcp_dualtune.config import ServerConfig
from mcp_dualtune.downstream.pool import Pool

async def main():
    server = ServerConfig("s", "stdio", command=sys.executable, args=tuple(sys.argv[1:]))
    async with Pool([server]) as pool:
        await pool.wait(90)
        print(pool.states()[0].status, flush=True)
        await anyio.wait_readable(sys.stdin)

anyio.run(main)
"""
LIMIT = 60.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and ps")


def alive(marker: str) -> list[str]:
    """Living processes with `marker` in their command line, the test's own excluded."""
    listing = subprocess.run(["ps", "-ewwo", "pid=,args="], capture_output=True, text=True, check=True, timeout=20)
    return [line for line in listing.stdout.splitlines() if marker in line]


def wait_for(marker: str, count: int) -> list[str]:
    """Look until there are `count` such processes; give what there is when the time is up."""
    deadline = time.monotonic() + LIMIT
    while len(found := alive(marker)) != count and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.fixture
def marker() -> Iterator[str]:
    """A word that only the processes of this test carry; whatever the test leaves is killed."""
    word = f"leftover-{uuid.uuid4().hex}"
    yield word
    for line in alive(word):
        os.kill(int(line.split()[0]), signal.SIGKILL)


def start_host(*server: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOST, *server],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize("how", ["input ends", "SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("kind", ["polite", "stubborn"])
def test_nothing_is_left(marker: str, kind: str, how: str) -> None:
    mode = ["stubborn", "2"] if kind == "stubborn" else ["polite", "1"]
    with start_host(str(SERVERS / "unruly.py"), *mode, marker) as host:
        assert host.stdout is not None
        assert host.stdout.readline().strip() == "ready"
        # Host, launcher and server; the stubborn one also has a child and a grandchild outside its process group.
        expected = 5 if kind == "stubborn" else 3
        assert len(wait_for(marker, expected)) == expected
        if how == "input ends":
            assert host.stdin is not None
            host.stdin.close()
        else:
            host.send_signal(signal.Signals[how])
        host.wait(timeout=LIMIT)
        assert wait_for(marker, 0) == []


def test_a_killed_launcher_takes_its_server_along(marker: str) -> None:
    """The pool notices, and starts the server again under a new launcher."""
    with start_host(str(SERVERS / "unruly.py"), "polite", "1", marker) as host:
        assert host.stdout is not None
        assert host.stdout.readline().strip() == "ready"
        before = wait_for(marker, 3)
        launcher = next(line for line in before if "launcher.py" in line)
        server = next(line for line in before if "launcher.py" not in line and "-c" not in line.split())
        os.kill(int(launcher.split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + LIMIT
        while {launcher, server} & set(after := alive(marker)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not {launcher, server} & set(after)
        assert len(wait_for(marker, 3)) == 3
        assert host.stdin is not None
        host.stdin.close()
        host.wait(timeout=LIMIT)
        assert wait_for(marker, 0) == []
