"""Hostile answers of a downstream server, through the gateway to a client: it stays usable, and so does the server."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from mcp_dualtune.config import Config, ModelSettings, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.server import build_server

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS, CALL_SECONDS, ANSWER_SECONDS = 180.0, 3.0, 90.0
BATCH = 20


async def answers(mode: Literal["legacy", "auto"], seed: int, count: int, failures: list[str]) -> Counter[str]:
    """Calls whose answers the seed makes; after each batch an honest one must be answered."""
    options = ServerOptions(start_timeout=START_SECONDS, call_timeout=CALL_SECONDS)
    arguments = ("-m", "tests.fuzz.hostile_server", f"{seed} {mode}")
    server = ServerConfig("hostile", "stdio", command=sys.executable, args=arguments, cwd=ROOT, options=options)
    settings = Settings(expose="all", model=ModelSettings(path=ROOT))
    outcomes: Counter[str] = Counter()
    async with Gateway(Config((server,), settings)) as gateway:
        await gateway.wait_ready()
        async with Client(build_server(gateway), mode=mode, elicitation_callback=_decline) as client:
            await client.list_tools()

            async def call(place: int) -> None:
                try:
                    with anyio.fail_after(ANSWER_SECONDS):
                        result = await client.session.call_tool("hostile__echo", {"place": place})
                    outcomes["error result" if result.is_error else "result"] += 1
                except MCPError as error:
                    outcomes[f"error {error.code}"] += 1
                except (ValidationError, RuntimeError):
                    # The client's own check of what a tool may answer; what comes through is the server's.
                    outcomes["refused by the client"] += 1
                except TimeoutError:
                    failures.append(f"answers {mode} {place} of seed {seed}: no answer")
                outcomes["sent"] += 1

            for start in range(0, count, BATCH):
                async with anyio.create_task_group() as tasks:
                    for place in range(start, min(start + BATCH, count)):
                        tasks.start_soon(call, place)
                if not await _honest(client):
                    failures.append(f"answers {mode}: no honest answer after {start} of seed {seed}")
            outcomes["restarts"] = gateway.server_states()[0].restarts
    return outcomes


async def _decline(*_: Any) -> Any:
    raise MCPError(-1, "nobody is there")


async def _honest(client: Client) -> bool:
    """Whether the server answers within its time; it may just be started again."""
    with anyio.move_on_after(ANSWER_SECONDS):
        while True:
            try:
                result = await client.session.call_tool("hostile__echo", {"ping": True})
                if not result.is_error:
                    return True
            except MCPError:
                pass
            await anyio.sleep(0.2)
    return False
