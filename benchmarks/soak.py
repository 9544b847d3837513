"""A gateway under random faults: what hangs, what gets lost, what is left behind. Linux only.

    python -m benchmarks.soak --faults 1000 --json soak.json

Ten servers (five over stdio, three over HTTP, two over SSE) are called without pause, by the library and by MCP clients
that connect to the gateway over HTTP in both protocol eras. Meanwhile servers and launchers are killed, frozen, slowed
down and restarted, calls go wrong in every way, clients vanish, and the config changes under the running gateway. In
the end everything must be well again. The exit code is 1 when a promise was broken:

- every call ends, in its own answer or in one clear error, and no call that may have run is made again;
- no process, thread, task or file descriptor is left behind, and memory stays within `MEMORY_MB` of the start.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import anyio
import uvicorn
from mcp import Client
from mcp.shared.exceptions import MCPError

from benchmarks.faults import Scene
from benchmarks.leaks import marked
from examples.servers.chaotic import FAULTS as CALL_FAULTS
from mcp_dualtune.config import load_config
from mcp_dualtune.config.changes import compare
from mcp_dualtune.errors import DualTuneError
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.http import open_socket, web_address, web_application
from mcp_dualtune.mcp_server.server import build_server
from mcp_dualtune.pipeline.decide import Pipeline

HUNG_SECONDS = 90.0
"""Longer than all the limits of one call together, where its server is exchanged and slow to start each time."""
HEAL_SECONDS = 90.0
"""For everything to be well again after the last fault: the longest pauses between two tries are a minute."""
SETTLE_SECONDS = 30.0
MEMORY_MB = 16.0
DIRECT_CALLERS, CLIENTS = 8, 6
DESCRIPTORS = DIRECT_CALLERS + CLIENTS
"""Connections to remote servers are kept for the next calls: one for each of those who call at once, at most."""
CALL_FAULT_SHARE, VANISH_SHARE = 0.03, 0.03
FAULT_SECONDS = 0.35
"""Between two faults from outside, on average."""
WARM_UP_SHARE = 0.2
"""Of the faults; what is loaded and kept only once is there before the first look at memory."""


@dataclass
class Tally:
    """What happened; `calls` by outcome: answered, failed, cancelled, hung, wrong."""

    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    """About every call that hung or was answered wrongly."""
    slowest: float = 0.0


@dataclass(frozen=True)
class Footprint:
    """What the process holds while nothing is asked of it."""

    processes: int
    threads: int
    tasks: int
    descriptors: int
    memory_mb: float


@dataclass(frozen=True)
class Report:
    """The outcome of a run."""

    seconds: float
    tally: Tally
    processes: int
    """Processes that ten servers need."""
    before: Footprint
    after: Footprint
    repeated: int
    """Calls that a server has seen more than once."""
    unseen: int
    """Calls that were answered though no server has seen them."""
    unhealed: tuple[str, ...]
    left: int
    """Processes that were still there after the end."""

    @property
    def broken(self) -> list[str]:
        """Every promise that was not kept, in words."""
        calls, before, after = self.tally.calls, self.before, self.after
        found = {
            "hung calls": calls["hung"],
            "wrong answers": calls["wrong"],
            "calls made twice": self.repeated,
            "answers from nowhere": self.unseen,
            "servers that did not heal": len(self.unhealed),
            "processes left after the end": self.left,
            "processes too many": max(after.processes, before.processes) - self.processes,
            "threads too many": after.threads - before.threads,
            "tasks too many": after.tasks - before.tasks,
            "descriptors too many": max(after.descriptors - before.descriptors - DESCRIPTORS, 0),
            "MB grown": int(max(after.memory_mb - before.memory_mb - MEMORY_MB, 0)),
        }
        return [f"{count} {what}" for what, count in found.items() if count > 0]

    def to_json(self) -> dict[str, Any]:
        """Every count, for a program."""
        return {
            **{entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "tally"},
            **vars(self.tally),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "broken": self.broken,
        }


class Soak:
    """One run: callers, faults, and the books about both."""

    def __init__(self, gateway: Gateway, scene: Scene, url: str, seed: int) -> None:
        self.gateway, self.scene, self.url = gateway, scene, url
        self.tally = Tally()
        self.random = random.Random(seed)
        self.answered: list[str] = []

    async def storm(self, faults: int, seconds: float) -> None:
        """Call and break until so many faults were made or so many seconds are over; then heal, and wait for it."""
        until = time.monotonic() + seconds
        total = sum(self.tally.faults.values()) + faults
        over = anyio.Event()
        async with anyio.create_task_group() as group:
            for _ in range(DIRECT_CALLERS):
                group.start_soon(self.call_directly, over)
            for number in range(CLIENTS):
                group.start_soon(self.be_clients, over, "legacy" if number % 2 else "auto")
            while sum(self.tally.faults.values()) < total and time.monotonic() < until:
                kind = await self.scene.fault(self.random, self.gateway.server_states(), group)
                self.tally.faults[kind] += 1
                await anyio.sleep(self.random.uniform(0, 2 * FAULT_SECONDS))
            over.set()
        self.scene.heal()

    def next_call(self) -> tuple[str, dict[str, Any]]:
        """A server and the arguments of a call, which goes wrong once in a while."""
        arguments = {"text": uuid.uuid4().hex}
        if self.random.random() < CALL_FAULT_SHARE:
            arguments["fault"] = self.random.choice(CALL_FAULTS)
            self.tally.faults[f"call: {arguments['fault']}"] += 1
        return self.random.choice(self.scene.names), arguments

    async def call_directly(self, over: anyio.Event) -> None:
        """The library's caller, who sometimes loses patience."""
        while not over.is_set():
            server, arguments = self.next_call()

            async def make(server: str = server, arguments: dict[str, Any] = arguments) -> str:
                return (await self.gateway.call(server, "echo", arguments)).text

            await self.book(server, arguments["text"], make)

    async def be_clients(self, over: anyio.Event, mode: Any) -> None:
        """One MCP client after the other; some vanish in the middle of a call."""
        while not over.is_set():
            with suppress(MCPError, ExceptionGroup):
                async with Client(self.url, mode=mode, read_timeout_seconds=2 * HUNG_SECONDS) as client:
                    for _ in range(self.random.randrange(5, 30)):
                        server, arguments = self.next_call()

                        async def make(server: str = server, arguments: dict[str, Any] = arguments) -> str:
                            result = await client.call_tool(f"{server}__echo", arguments)
                            text = "".join(block.text for block in result.content if block.type == "text")
                            if result.is_error:
                                raise MCPError(0, text)
                            return text

                        if not await self.book(server, arguments["text"], make) or over.is_set():
                            break

    async def book(self, server: str, token: str, make: Callable[[], Awaitable[str]]) -> bool:
        """Make one call and write down how it ends; False when the caller vanished on purpose."""
        patience = self.random.uniform(0, 0.3) if self.random.random() < VANISH_SHARE else None
        began = time.monotonic()
        outcome = "cancelled"
        with anyio.move_on_after(HUNG_SECONDS if patience is None else patience) as scope:
            try:
                text = await make()
                outcome = "answered" if text == token else "wrong"
                if outcome == "wrong":
                    self.tally.remarks.append(f"{server}: {token} was answered with {text[:200]}")
                self.answered.append(token)
            except (DualTuneError, MCPError) as error:
                outcome = "failed"
                self.tally.errors[_kind(error)] += 1
        if scope.cancelled_caught:
            outcome = "hung" if patience is None else "cancelled"
            self.tally.faults["caller vanishes"] += patience is not None
        if outcome == "hung":
            states = [state for state in self.gateway.server_states() if state.name == server]
            self.tally.remarks.append(f"{server}: no end after {HUNG_SECONDS:g} s: {states}")
        self.tally.calls[outcome] += 1
        self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
        return not scope.cancelled_caught

    async def unhealed(self) -> tuple[str, ...]:
        """Names of the servers that still do not answer when the time is up."""
        waiting = list(self.scene.names)
        with anyio.move_on_after(HEAL_SECONDS):
            while compare(self.gateway.config, load_config(self.scene.config)):  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.2)
            while waiting:
                for name in tuple(waiting):
                    with suppress(DualTuneError):
                        await self.gateway.call(name, "echo", {"text": uuid.uuid4().hex})
                        waiting.remove(name)
                await anyio.sleep(0.2)
        return tuple(waiting)

    async def footprint(self, bound: Footprint | None = None) -> Footprint:
        """What is held now; what ends by itself gets the time to do so, and with a `bound` even more."""
        found = _look(self.scene.mark)
        with anyio.move_on_after(SETTLE_SECONDS):
            while True:
                await anyio.sleep(1.0)
                earlier, found = found, _look(self.scene.mark)
                few = earlier if bound is None else bound
                ready = all(state.status == "ready" for state in self.gateway.server_states())
                if ready and found.processes <= self.scene.processes and found.tasks <= few.tasks:
                    break
        return found


def _look(mark: str) -> Footprint:
    gc.collect()
    with suppress(OSError, AttributeError):
        # What the C library keeps for later is not held by anybody.
        ctypes.CDLL(None).malloc_trim(0)
    # The pool of threads that anyio keeps for blocking calls grows and shrinks by itself.
    threads = [thread for thread in threading.enumerate() if "AnyIO" not in thread.name]
    status = Path("/proc/self/status").read_text(encoding="ascii")
    memory = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    # A request that a remote server has half answered stays open until its connection ends or its limit comes.
    tasks = [task for task in asyncio.all_tasks() if "_run_request" not in task.get_name()]
    return Footprint(len(marked(mark)), len(threads), len(tasks), descriptors, round(memory, 1))


def _kind(error: Exception) -> str:
    words = str(error)
    for kind in (
        "was lost during",
        "did not answer",
        "are not tried",
        "is not available",
        "out of paper",
        "not connected",
    ):
        if kind in words:
            return kind
    return words[:80]


@asynccontextmanager
async def _served(gateway: Gateway) -> AsyncIterator[str]:
    """The gateway as clients meet it, over HTTP; gives the address."""
    settings = gateway.config.settings.http
    with open_socket(settings) as listener:
        application = web_application(build_server(gateway), "http", settings)
        server = uvicorn.Server(
            uvicorn.Config(application, log_config=None, log_level="critical", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield web_address(listener, "http")
        finally:
            server.should_exit = True
            await serving


async def soak(folder: Path, *, faults: int, seconds: float, seed: int = 0) -> Report:
    """Run the whole thing in `folder`."""
    began = time.monotonic()
    scene = Scene(folder)
    try:
        config = load_config(scene.config)
        nothing_decided = cast(Callable[[], Pipeline], object)
        async with Gateway(config, pipeline=nothing_decided, follow=True) as gateway, _served(gateway) as url:
            run = Soak(gateway, scene, url, seed)
            await run.unhealed()
            await run.storm(int(faults * WARM_UP_SHARE), seconds * WARM_UP_SHARE)
            await run.unhealed()
            before = await run.footprint()
            await run.storm(faults - sum(run.tally.faults.values()), seconds - (time.monotonic() - began))
            unhealed = await run.unhealed()
            after = await run.footprint(before)
        scene.close()
        ledger = scene.ledger()
        left = len(marked(scene.mark))
    finally:
        scene.close()
    return Report(
        seconds=round(time.monotonic() - began, 1),
        tally=run.tally,
        processes=scene.processes,
        before=before,
        after=after,
        repeated=sum(count > 1 for count in ledger.values()),
        unseen=sum(token not in ledger for token in run.answered),
        unhealed=unhealed,
        left=left,
    )


def tell(report: Report) -> None:
    """Print the counts."""
    tally = report.tally
    print(f"{sum(tally.faults.values())} faults in {report.seconds:.0f} s")
    for title, counts in (("fault", tally.faults), ("call", tally.calls), ("error", tally.errors)):
        print(f"\n{title:<28} count")
        for name, count in counts.most_common():
            print(f"{name:<28} {count:5}")
    print(*tally.remarks, sep="\n")
    print(f"\nslowest call {tally.slowest:.1f} s, made twice {report.repeated}, from nowhere {report.unseen}")
    print(f"\n{'held while idle':<16} before   after")
    before, after = asdict(report.before), asdict(report.after)
    for name, value in before.items():
        print(f"{name:<16} {value:6} {after[name]:7}")
    print(f"\nprocesses left after the end: {report.left}")
    print("broken: " + "; ".join(report.broken) if report.broken else "nothing hung, nothing lost, nothing left")


def main() -> int:
    """Run it and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000, help="faults after which to stop (default: 1000)")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes after which to stop anyway (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="for the choice of faults; times differ anyway")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the counts there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dualtune-soak-") as name:

        async def run() -> Report:
            return await soak(Path(name), faults=args.faults, seconds=args.minutes * 60, seed=args.seed)

        report = anyio.run(run)
    tell(report)
    if args.json:
        args.json.write_text(json.dumps(report.to_json(), indent=2), encoding="utf-8")
    return 1 if report.broken else 0


if __name__ == "__main__":
    # What goes wrong is counted; the libraries' own words about it would bury the counts.
    logging.disable(logging.CRITICAL)
    sys.exit(main())
