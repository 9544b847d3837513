"""How many processes are left behind: start `dualtune serve` with real servers, end it in turn in every way, count.

    python -m benchmarks.leaks --rounds 50

Linux only: processes are found by a mark in their environment, which every child inherits. The exit code is 1 when a
process outlives its gateway by more than `GONE_LIMIT` seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "DUALTUNE_LEAK_MARK"
START_LIMIT = 180.0
"""Seconds for the gateway to answer and its servers to run, on a busy machine."""
GONE_LIMIT = 40.0
WAYS = ("stdin end", "SIGTERM", "SIGINT", "SIGKILL")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "leaks", "version": "1"}},
}


@dataclass(frozen=True)
class Round:
    """One start and end."""

    way: str
    started: int
    """Processes that ran, the gateway included."""
    left: int
    """Processes that were still there after `GONE_LIMIT` seconds."""
    exit_code: int
    seconds: float
    """From the order to end until the last process was gone."""


def marked(mark: str) -> list[int]:
    """Ids of the living processes that carry `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0") and not _zombie(entry):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _zombie(entry: Path) -> bool:
    return (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"


def one_round(way: str, config: Path, servers: int) -> Round:
    """Start the gateway, wait until `servers` servers run, end it in `way`, and see what is left."""
    mark = uuid.uuid4().hex
    settings = json.loads(config.read_text(encoding="utf-8"))
    for server in settings["mcpServers"].values():
        server["env"] = {**server.get("env", {}), MARK: mark}
    own = config.with_name(f"{mark}.json")
    own.write_text(json.dumps(settings), encoding="utf-8")
    with tempfile.TemporaryFile() as log:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "mcp_dualtune", "serve", "--config", str(own)],
            cwd=ROOT,
            env={**os.environ, MARK: mark},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert gateway.stdin is not None and gateway.stdout is not None
            gateway.stdin.write(json.dumps(HELLO).encode() + b"\n")
            gateway.stdin.flush()
            answer = gateway.stdout.readline()
            assert b"serverInfo" in answer, answer
            started = _until(lambda: len(marked(mark)), at_least=servers + 1, limit=START_LIMIT)
            began = time.monotonic()
            _end(gateway, way)
            code = gateway.wait(GONE_LIMIT)
            left = _until_none(mark, began + GONE_LIMIT)
            return Round(way, started, left, code, time.monotonic() - began)
        finally:
            gateway.kill()
            gateway.wait(GONE_LIMIT)
            gateway.stdin.close()
            gateway.stdout.close()
            for process in marked(mark):
                os.kill(process, signal.SIGKILL)


def _end(gateway: subprocess.Popen[bytes], way: str) -> None:
    if way == "stdin end":
        assert gateway.stdin is not None
        gateway.stdin.close()
    else:
        gateway.send_signal(getattr(signal, way))


def _until(count, *, at_least: int, limit: float) -> int:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + limit
    while (found := count()) < at_least:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {found} of {at_least} processes run after {limit:.0f} s")
        time.sleep(0.05)
    return int(found)


def _until_none(mark: str, deadline: float) -> int:
    while (left := len(marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def rounds(count: int, config: Path, servers: int) -> list[Round]:
    """`count` rounds, going through the ways to end in turn."""
    return [one_round(way, config, servers) for way in itertools.islice(itertools.cycle(WAYS), count)]


def write_config(folder: Path) -> tuple[Path, int]:
    """A config with two real servers in `folder`, and how many servers it has."""
    time_server = Path(sys.executable).parent / "mcp-server-time"
    servers = {
        "time": {"command": str(time_server), "args": ["--local-timezone", "UTC"]},
        "notes": {
            "command": sys.executable,
            "args": [str(ROOT / "examples" / "servers" / "notes.py"), str(folder / "notes")],
        },
    }
    config = folder / "config.json"
    config.write_text(
        json.dumps({"mcpServers": servers, "dualtune": {"state": str(folder / "state")}}), encoding="utf-8"
    )
    return config, len(servers)


def main() -> int:
    """Run the rounds and print the count."""
    parser = argparse.ArgumentParser(description="Count the processes that a gateway leaves behind.")
    parser.add_argument("--rounds", type=int, default=50)
    count = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="dualtune-leaks-") as folder:
        done = rounds(count, *write_config(Path(folder)))
    for way in WAYS:
        mine = [one for one in done if one.way == way]
        if mine:
            slowest = max(one.seconds for one in mine)
            print(f"{way:<10} {len(mine):3} rounds, {sum(one.left for one in mine)} left, slowest {slowest:.1f} s")
    left = sum(one.left for one in done)
    print(f"{len(done)} rounds, {sum(one.started for one in done)} processes started, {left} left behind")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
