"""Reads the servers as they are now, and what their read-only tools truly answer.

Owns which tools may be called for that: those that their server calls read-only, by the policy of the config, and with
values that were made up. Refuses to own: connections, which are the gateway's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from mcp_dualtune.agent.history import bounded
from mcp_dualtune.catalog.naming import near_names
from mcp_dualtune.config import Config
from mcp_dualtune.errors import DualTuneError, RequestError, ServerUnavailable
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.training.records import fill
from mcp_dualtune.training.synthesis import synthesise
from mcp_dualtune.types import ServerSpec, ToolSpec

CALLS, KEPT = 6, 4
"""Calls of each read-only tool, and true results of it that are kept."""
RESULT_CHARS = 1000
REQUESTS = 100

Results = Mapping[str, Sequence[str]]


async def read_servers(
    config: Config, names: Sequence[str], seed: int, execute: bool
) -> tuple[tuple[ServerSpec, ...], dict[str, Results]]:
    """Start the servers `names`, read their tools, and with `execute` call the read-only ones.

    Raises:
        RequestError: the config has no such server.
        ServerUnavailable: one of them does not answer.
    """
    known = {server.name for server in config.servers}
    for name in names:
        if name not in known:
            raise RequestError(f"The config has no server {name!r}.", hint=near_names(name, known))
    asked = replace(config, servers=tuple(server for server in config.servers if server.name in names))
    async with Gateway(asked, pipeline=cast(Callable[[], Pipeline], _NoModel)) as gateway:
        await gateway.wait_ready(tuple(names))
        for state in gateway.server_states():
            if state.error is not None and state.name not in {server.name for server in gateway.catalog.servers}:
                raise ServerUnavailable(
                    f"The server {state.name!r} cannot be asked for its tools: {state.error.message}",
                    hint=state.error.hint or "See `dualtune servers`, or give its tools with --catalog FILE.",
                )
        servers = gateway.catalog.restrict(names).servers
        results = {server.name: await _results(gateway, server, seed) for server in servers} if execute else {}
        return servers, results


async def _results(gateway: Gateway, server: ServerSpec, seed: int) -> Results:
    """What the read-only tools of one server answer to made-up arguments, failures left out."""
    made = synthesise(server, seed, REQUESTS)
    found: dict[str, list[str]] = {}
    for entry in made.training.entries:
        tool = next(tool for tool in server.tools if tool.name == entry.tool)
        if not is_harmless(tool):
            continue
        rng = random.Random(f"{seed} {server.name} {tool.name} executed")
        templates = rng.sample(entry.requests, min(CALLS, len(entry.requests)))
        for arguments in [fill(template, rng)[1] for template in templates]:
            try:
                result = await gateway.call(server.name, tool.name, {**arguments, **_fixed(server, tool)})
            except DualTuneError:
                continue  # a call that the policy, the schema or the server refuses teaches nothing
            text = bounded(result.text, RESULT_CHARS)
            if not result.is_error and text.strip() and text not in found.setdefault(tool.name, []):
                found[tool.name].append(text)
            if len(found.get(tool.name, ())) == KEPT:
                break
    return {name: texts for name, texts in found.items() if texts}


def is_harmless(tool: ToolSpec) -> bool:
    """Whether the server says that calling the tool changes nothing."""
    return tool.annotations.get("readOnlyHint") is True and tool.annotations.get("destructiveHint") is not True


def _fixed(server: ServerSpec, tool: ToolSpec) -> dict[str, object]:
    known = tool.input_schema.get("properties") or {}
    return {name: value for name, value in server.fixed_arguments.items() if name in known}


class _NoModel:
    """Stands where nothing is decided, so that no model is loaded."""
