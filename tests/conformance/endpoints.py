"""The fixture server over HTTP, and `dualtune serve` with the fixture server behind it over stdio: as processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import anyio
from mcp.client import Client

from tests.conformance.packages import ROOT
from tests.conformance.suites import Era

Transport = Literal["stdio", "http"]
FIXTURE = "examples.servers.conformance"
START_SECONDS = 120.0
END_SECONDS = 30.0


def gateway_config(folder: Path, era: Era, url: str | None = None) -> Path:
    """A config file with the fixture server under its own names, everything shown and everything allowed.

    Args:
        url: where the fixture server runs; None starts it over stdio.
    """
    started = {"command": sys.executable, "args": ["-m", FIXTURE], "cwd": str(ROOT)}
    options = {"mode": era, "prefix": "", "start_timeout": START_SECONDS}
    rules = [{"match": "*/*", "action": "allow"}]
    text = json.dumps(
        {
            "mcpServers": {"conformance": {"url": url} if url else started},
            "dualtune": {
                "expose": "all",
                "http": {"resume": True},
                "pins": "off",  # scenarios make the server grow a tool, which pins would hold back
                "state": str(folder),
                "policy": rules,
                "servers": {"conformance": options},
            },
        },
        indent=1,
    )
    file = folder / f"gateway-{era}.json"
    file.write_text(text, encoding="utf-8")
    return file


@contextmanager
def fixture_server() -> Iterator[str]:
    """The address of the fixture server."""
    with _listening([sys.executable, "-m", FIXTURE, "--transport", "http"]) as address:
        yield address


@contextmanager
def gateway(folder: Path, era: Era, transport: Transport = "stdio") -> Iterator[str]:
    """The address of a gateway with a fixture server of its own behind it, when both are ready."""
    with ExitStack() as stack:
        url = stack.enter_context(fixture_server()) if transport == "http" else None
        config = gateway_config(folder, era, url)
        command = [
            sys.executable,
            "-m",
            "mcp_dualtune",
            "serve",
            "--config",
            str(config),
            "--transport",
            "http",
            "--no-token",
        ]
        address = stack.enter_context(_listening([*command, "--port", "0"]))
        anyio.run(_until_ready, address)
        yield address


async def _until_ready(address: str) -> None:
    """`find_tools` answers when every server has started; no model is needed."""
    with anyio.fail_after(START_SECONDS):
        async with Client(address, mode="legacy") as client:
            await client.call_tool("find_tools", {"query": "simple text"})


@contextmanager
def _listening(command: list[str]) -> Iterator[str]:
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        said = []
        while (line := process.stderr.readline()) and "listening on" not in line:
            said.append(line)
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start: {''.join(said)}")
        guard.cancel()
        # Read on, so that a full pipe never blocks the server.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        yield line.split("listening on")[1].strip()
        process.terminate()
        process.wait(END_SECONDS)
        reader.join(END_SECONDS)
    finally:
        guard.cancel()
        process.kill()
        process.wait(END_SECONDS)
        process.stderr.close()
