"""What a call through us costs: the same tool called directly, through `dualtune serve`, and through other proxies.

    python -m benchmarks.gateway --install      once: FastMCP and mcp-proxy, each into a venv of its own under runs/
    python -m benchmarks.gateway --rounds 5

One downstream server (`benchmarks/echo_server.py`, over stdio) and one client (the SDK's) for all ways. Every way is
open all the time; in each round every way gets the same burst of calls, one way after the other in an order that
rotates, so that a busy moment hits all of them. `callers` is how many calls are in flight on the one connection. Added
latency is the difference of the percentiles to those of the direct calls on the same transport. On Linux the processor
time that the process in front spends on a call is read too: unlike the time on the wall, it hardly depends on how busy
the machine is.

mcp-proxy turns stdio into HTTP, so it is compared there. We are measured when the model is loaded; `start` then shows a
fresh gateway from its first second on, while the model is being loaded.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from mcp_dualtune.evaluation.score import percentile

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "runs" / "peers"
PACKAGES = {"fastmcp": ["fastmcp>=4,<5", "-c", str(ROOT / "constraints.txt")], "mcp-proxy": ["mcp-proxy", "mcp<2"]}
"""What goes into each peer's own environment; mcp-proxy does not run on version 2 of the SDK."""
ECHO = [sys.executable, str(ROOT / "benchmarks" / "echo_server.py")]
CALLERS = (1, 10, 100)
MARK = "DUALTUNE_BENCHMARK"
START_LIMIT = 120.0
END_LIMIT = 30.0
CALL_LIMIT = 60.0


@dataclass
class Way:
    """One open connection to the tool."""

    name: str
    client: Client
    tool: str
    ms: dict[int, list[float]] = field(default_factory=lambda: {callers: [] for callers in CALLERS})
    seconds: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CALLERS, 0.0))
    pid: int | None = None
    """The process in front, where it can be told."""
    cpu: dict[int, float] = field(default_factory=lambda: dict.fromkeys(CALLERS, 0.0))
    """Seconds of processor time that it spent on the calls."""

    async def burst(self, callers: int, calls: int, keep: bool = True) -> None:
        """Make `calls` calls, `callers` at a time, and note how long each and all of them took."""
        left = iter(range(calls))
        took: list[float] = []

        async def caller() -> None:
            for _ in left:
                started = time.perf_counter()
                result = await self.client.call_tool(self.tool, {"text": "hello"})
                took.append((time.perf_counter() - started) * 1000)
                assert result.content[0].text == "hello", result  # type: ignore[union-attr]

        used, started = processor_seconds(self.pid), time.perf_counter()
        with anyio.fail_after(CALL_LIMIT):
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(caller)
        if keep:
            self.ms[callers] += took
            self.seconds[callers] += time.perf_counter() - started
            self.cpu[callers] += processor_seconds(self.pid) - used


def process_marked(mark: str) -> int | None:
    """The child of ours that was started with `mark` in its environment; None where processes cannot be looked at."""
    for entry in Path("/proc").glob("[0-9]*") if Path("/proc/self/environ").exists() else ():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    return None


def processor_seconds(pid: int | None) -> float:
    """Processor time of a process so far; not a number where it cannot be told."""
    if pid is None:
        return math.nan
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def commands(folder: Path, port: int | None) -> dict[str, list[str]]:
    """How each way is started, over stdio or listening on `port`; peers that are not installed are left out."""
    block = {"mcpServers": {"echo": {"command": ECHO[0], "args": ECHO[1:]}}}
    (folder / "peer.json").write_text(json.dumps(block), encoding="utf-8")
    (folder / "ours.json").write_text(
        json.dumps({**block, "dualtune": {"expose": "all", "state": str(folder)}}), encoding="utf-8"
    )
    bin_of = {name: PEERS / name / ("Scripts" if os.name == "nt" else "bin") for name in PACKAGES}
    ours = [sys.executable, "-m", "mcp_dualtune", "serve", "--config", str(folder / "ours.json")]
    fastmcp = [
        str(bin_of["fastmcp"] / "fastmcp"),
        "run",
        str(folder / "peer.json"),
        "--no-banner",
        "--log-level",
        "ERROR",
    ]
    if port is None:
        found = {"direct": ECHO, "dualtune": ours, "fastmcp": fastmcp}
    else:
        found = {
            "direct": [*ECHO, "--port", str(port)],
            "dualtune": [*ours, "--transport", "http", "--no-token", "--port", str(port)],
            "fastmcp": [*fastmcp, "--transport", "http", "--port", str(port)],
            "mcp-proxy": [
                str(bin_of["mcp-proxy"] / "mcp-proxy"), "--log-level", "ERROR", "--port", str(port), "--", *ECHO,
            ],
        }  # fmt: skip
    return {name: words for name, words in found.items() if Path(words[0]).exists()}


@asynccontextmanager
async def opened(name: str, folder: Path, transport: str, log: Any) -> AsyncIterator[Way]:
    """Start one way and connect to it."""
    async with AsyncExitStack() as stack:
        if transport == "stdio":
            words = commands(folder, None)[name]
            # The whole environment, so that no way starts with less than the others.
            parameters = StdioServerParameters(
                command=words[0], args=words[1:], cwd=ROOT, env={**os.environ, MARK: name}
            )
            target: Any = stdio_client(parameters, errlog=log)
        else:
            port = free_port()
            process = await stack.enter_async_context(started(commands(folder, port)[name], log, name))
            await listening(port, process)
            target = f"http://127.0.0.1:{port}/mcp"
        client = await stack.enter_async_context(Client(target, mode="legacy", read_timeout_seconds=START_LIMIT))
        yield Way(name, client, await tool_of(client), pid=process_marked(name))


async def tool_of(client: Client) -> str:
    """What the tool is called on this way; a gateway may list it only when its server is ready."""
    with anyio.fail_after(START_LIMIT):
        while True:
            tools = [tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools]
            if found := [tool for tool in tools if tool.endswith("echo")]:
                return found[0]
            await anyio.sleep(0.1)


@asynccontextmanager
async def started(words: Sequence[str], log: Any, mark: str) -> AsyncIterator[Process]:
    """A process in the background, ended at the end."""
    env = {**os.environ, MARK: mark}
    process = await anyio.open_process(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        with anyio.move_on_after(END_LIMIT, shield=True) as scope:
            await process.wait()
        if scope.cancelled_caught:
            process.kill()


async def listening(port: int, process: Process) -> None:
    """Wait until someone answers on `port`."""
    with anyio.fail_after(START_LIMIT):
        while process.returncode is None:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.05)
    raise SystemExit(f"A server ended with {process.returncode}; --verbose shows what it said.")


async def measure(transport: str, rounds: int, calls: int, log: Any) -> list[Way]:
    """Every way on one transport, in interleaved rounds."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dualtune-gateway-")))
        names = commands(folder, None if transport == "stdio" else 0)
        ways = [await stack.enter_async_context(opened(name, folder, transport, log)) for name in names]
        for way in ways:
            if way.name == "dualtune":
                # Answers when the model is loaded.
                with anyio.fail_after(START_LIMIT):
                    await way.client.call_tool("plan", {"request": "echo hello"}, read_timeout_seconds=START_LIMIT)
            for callers in CALLERS:
                await way.burst(callers, max(callers, 20), keep=False)
        for turn in range(rounds):
            for callers in CALLERS:
                for place in range(len(ways)):
                    await ways[(place + turn) % len(ways)].burst(callers, max(calls, 2 * callers))
    return ways


async def first_seconds(seconds: int, log: Any) -> dict[str, list[dict[str, float]]]:
    """One call after the other from the first moment on, second by second: directly, and while our model is loaded."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="dualtune-gateway-") as folder:
        for name in ("direct", "dualtune"):
            async with opened(name, Path(folder), "stdio", log) as way:
                begin = time.perf_counter()
                by_second: list[list[float]] = [[] for _ in range(seconds)]
                while (now := time.perf_counter() - begin) < seconds:
                    await way.burst(1, 1)
                    by_second[int(now)].append(way.ms[1].pop())
                found[name] = [of_times(ms) for ms in by_second]
    return found


def of_times(ms: Sequence[float]) -> dict[str, float]:
    """Percentiles of times in milliseconds."""
    if not ms:
        # One call may take longer than the second in which the next would have begun.
        return dict.fromkeys(("p50_ms", "p95_ms", "max_ms"), math.nan) | {"calls": 0}
    return {"calls": len(ms), "p50_ms": percentile(ms, 50), "p95_ms": percentile(ms, 95), "max_ms": max(ms)}


def summary(ways: Sequence[Way]) -> dict[str, dict[str, dict[str, float]]]:
    """By way and number of callers: percentiles, what is added to the direct call, calls per second."""
    direct = next(way for way in ways if way.name == "direct")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for way in ways:
        found[way.name] = {}
        for callers, ms in way.ms.items():
            here, base = of_times(ms), of_times(direct.ms[callers])
            added = {f"added_{key}": here[key] - base[key] for key in ("p50_ms", "p95_ms")}
            cpu = way.cpu[callers] * 1000 / len(ms)
            found[way.name][str(callers)] = {
                **here, **added, "cpu_ms": cpu, "calls_per_s": len(ms) / way.seconds[callers],
            }  # fmt: skip
    return found


def tell(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    print(f"load average {found['load_average']}, {found['cores']} cores, Python {found['python']}")
    for transport, ways in found["transports"].items():
        print(f"\n{transport} in front, stdio behind")
        print(
            f"{'way':<10} {'callers':>7} {'p50 ms':>8} {'p95 ms':>8} {'added p50':>9} {'added p95':>9} {'calls/s':>8}"
            f" {'cpu ms':>7}"
        )
        for callers in map(str, CALLERS):
            for name, by_callers in ways.items():
                one = by_callers[callers]
                print(
                    f"{name:<10} {callers:>7} {one['p50_ms']:8.2f} {one['p95_ms']:8.2f}"
                    f" {one['added_p50_ms']:9.2f} {one['added_p95_ms']:9.2f} {one['calls_per_s']:8.0f}"
                    f" {one['cpu_ms']:7.2f}"
                )
    for name, seconds in found.get("start", {}).items():
        print(f"\n{name}, one caller from the first moment on")
        for place, one in enumerate(seconds, 1):
            print(
                f"  second {place}: {one['calls']:5} calls, p50 {one['p50_ms']:.2f}, p95 {one['p95_ms']:.2f},"
                f" max {one['max_ms']:.1f} ms"
            )


def install() -> None:
    """Make the peers' environments."""
    for name, packages in PACKAGES.items():
        venv.create(PEERS / name, with_pip=True)
        python = PEERS / name / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)


async def benchmark(transports: Sequence[str], rounds: int, calls: int, seconds: int, log: Any) -> dict[str, Any]:
    """All that was asked for, as one document."""
    found = {transport: summary(await measure(transport, rounds, calls, log)) for transport in transports}
    start = await first_seconds(seconds, log) if seconds else {}
    machine = {"load_average": os.getloadavg() if hasattr(os, "getloadavg") else None, "cores": os.cpu_count()}
    return {**machine, "python": platform.python_version(), "transports": found, "start": start}


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install the peers, and measure nothing")
    parser.add_argument("--transport", action="append", choices=["stdio", "http"], help="default: both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200, help="calls of one burst (default: 200)")
    parser.add_argument("--start", type=int, default=8, metavar="SECONDS", help="watch a fresh start that long; 0: not")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="show what the servers say")
    options = parser.parse_args()
    if options.install:
        install()
        return
    transports = options.transport or ["stdio", "http"]
    with Path("/dev/stderr" if options.verbose else os.devnull).open("w", encoding="utf-8") as log:
        found = anyio.run(benchmark, transports, options.rounds, options.calls, options.start, log)
    if options.json:
        print(json.dumps(found))
    else:
        tell(found)


if __name__ == "__main__":
    main()
