"""The servers of the soak test and the faults that come from outside: kills, freezes, restarts, new configs.

Owns the processes of the remote servers and the config file. Refuses to own: calls, and the judgement of what happened.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from benchmarks.leaks import MARK
from mcp_dualtune.downstream.pool import ServerState

SERVER = Path(__file__).resolve().parents[1] / "examples" / "servers" / "chaotic.py"
KINDS = {"stdio": 5, "http": 3, "sse": 2}
CALL_SECONDS, START_SECONDS = 3.0, 15.0
LONGEST_FREEZE, LONGEST_ABSENCE, LONGEST_START = 6.0, 2.0, 3.0
PORTS = range(21_000, 31_000)
"""Below the ports that the system gives to outgoing connections, which could take that of a server that is away."""
EXTRA = "extra"
"""A server that config changes add and remove."""


class Scene:
    """Ten servers, a config that names them, and everything that can happen to them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark, self.config = folder, uuid.uuid4().hex, folder / "config.json"
        self.names = [f"{kind}{number}" for kind, count in KINDS.items() for number in range(count)]
        self.ports = {name: _free_port() for name in self.names if not name.startswith("stdio")}
        self.remote = {name: self._start(name) for name in self.ports}
        self.generation = dict.fromkeys(self.names, 0)
        self.patience = CALL_SECONDS
        self.extra = False
        self._write()
        self.faults = {
            "server killed": self._kill,
            "launcher killed": self._kill_launcher,
            "server frozen": self._freeze,
            "remote server restarted": self._restart,
            "remote server frozen": self._freeze_remote,
            "slow start": self._slow_start,
            "config: server changed": self._change,
            "config: server added or removed": self._toggle,
            "config: options changed": self._adjust,
            "config: broken file": self._break,
        }

    async def fault(self, choice: random.Random, states: Sequence[ServerState], group: anyio.abc.TaskGroup) -> str:
        """Make one fault and name it; what belongs to it later runs in `group`."""
        kind = choice.choice(list(self.faults))
        living = [state.pid for state in states if state.pid is not None and state.name != EXTRA]
        await self.faults[kind](choice, living, group)
        return kind

    @property
    def processes(self) -> int:
        """Processes when all is well: each stdio server has its launcher."""
        return len(self.ports) + 2 * (len(self.names) - len(self.ports))

    def heal(self) -> None:
        """Put back what is gone, and wake what is frozen."""
        self.extra, self.patience = False, CALL_SECONDS
        self._write()
        for name, process in self.remote.items():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            if process.poll() is not None:
                self.remote[name] = self._start(name)

    def close(self) -> None:
        """End the remote servers."""
        for process in self.remote.values():
            process.kill()
            process.wait()

    def ledger(self) -> Counter[str]:
        """How often each call was carried out, by its text."""
        found: Counter[str] = Counter()
        for file in self.folder.glob("*/ledger"):
            found.update(file.read_text(encoding="utf-8").split())
        return found

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        kind, port = name.rstrip("0123456789"), str(self.ports[name])
        command = [
            sys.executable,
            "-I",
            "-S",
            str(SERVER),
            str(self.folder / name),
            "--transport",
            kind,
            "--port",
            port,
        ]
        return subprocess.Popen(
            command, env={**os.environ, MARK: self.mark}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _write(self, text: str | None = None) -> None:
        self.config.write_text(text or json.dumps(self._settings()), encoding="utf-8")

    def _settings(self) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for name in [*self.names, *([EXTRA] if self.extra else [])]:
            if name in self.ports:
                kind = name.rstrip("0123456789")
                path = {"http": "mcp", "sse": "sse"}[kind]
                entries[name] = {"type": kind, "url": f"http://127.0.0.1:{self.ports[name]}/{path}"}
            else:
                entries[name] = {"command": sys.executable, "args": ["-I", "-S", str(SERVER), str(self.folder / name)]}
            key = "headers" if name in self.ports else "env"
            entries[name][key] = {MARK: self.mark, "Generation": str(self.generation.get(name, 0))}
        options = {"call_timeout": self.patience, "start_timeout": START_SECONDS}
        own = {"expose": "all", "http": {"port": 0}, "servers": dict.fromkeys(entries, options)}
        return {"mcpServers": entries, "dualtune": own}

    async def _kill(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        _signal(choice, living, signal.SIGKILL)

    async def _kill_launcher(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        _signal(
            choice, [parent for pid in living if (parent := _parent(pid)) not in (None, os.getpid())], signal.SIGKILL
        )

    async def _freeze(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        frozen = _signal(choice, living, signal.SIGSTOP)
        group.start_soon(self._thaw, frozen, choice.uniform(0, LONGEST_FREEZE))

    async def _freeze_remote(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        running = [process.pid for process in self.remote.values() if process.poll() is None]
        frozen = _signal(choice, running, signal.SIGSTOP)
        group.start_soon(self._thaw, frozen, choice.uniform(0, LONGEST_FREEZE))

    async def _thaw(self, pid: int | None, after: float) -> None:
        await anyio.sleep(after)
        _signal(random.Random(0), [pid], signal.SIGCONT)

    async def _restart(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        name = choice.choice(list(self.remote))
        self.remote[name].kill()
        self.remote[name].wait()
        group.start_soon(self._return, name, choice.choice([0.0, choice.uniform(0, LONGEST_ABSENCE)]))

    async def _return(self, name: str, after: float) -> None:
        await anyio.sleep(after)
        if self.remote[name].poll() is not None:
            self.remote[name] = self._start(name)

    async def _slow_start(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        name = choice.choice(self.names)
        (self.folder / name / "slow").write_text(str(choice.uniform(0, LONGEST_START)), encoding="utf-8")
        if name in self.remote:
            self.remote[name].kill()
            self.remote[name].wait()
            self.remote[name] = self._start(name)
        else:
            _signal(choice, living, signal.SIGKILL)

    async def _change(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        self.generation[choice.choice(self.names)] += 1
        self._write()

    async def _toggle(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        self.extra = not self.extra
        self._write()

    async def _adjust(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        self.patience = choice.uniform(CALL_SECONDS - 1, CALL_SECONDS + 1)
        self._write()

    async def _break(self, choice: random.Random, living: list[int], group: anyio.abc.TaskGroup) -> None:
        whole = self.config.read_text(encoding="utf-8")
        self._write(whole[: choice.randrange(1, len(whole))])


def _signal(choice: random.Random, pids: Sequence[int | None], number: signal.Signals) -> int | None:
    chosen = choice.choice(pids) if pids else None
    if chosen is not None:
        with suppress(ProcessLookupError):
            os.kill(chosen, number)
    return chosen


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None


def _free_port() -> int:
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.choice(PORTS)
            probe.bind(("127.0.0.1", port))
            return port
