"""Reads the servers as they are now, and what their read-only tools truly answer.

Owns which tools may be called for that: those that their server calls read-only, by the policy of the config, and with
values that were made up or stood in earlier results. Refuses to own: connections, which are the gateway's.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from mcp_dualtune.agent.history import observe
from mcp_dualtune.catalog.naming import near_names
from mcp_dualtune.config import Config
from mcp_dualtune.errors import DualTuneError, RequestError, ServerUnavailable
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.training.records import fill
from mcp_dualtune.training.synthesis import synthesise
from mcp_dualtune.types import JSON, ServerSpec, ToolCall, ToolResult, ToolSpec

CALLS, KEPT = 6, 4
"""Calls of each read-only tool, and true results of it that are kept."""
ASKED_AGAIN = 4
"""Calls among these with values that earlier results showed, where there are such."""
SEEN, LONGEST_VALUE = 20, 100
"""Values of one key that are kept, and characters of each."""
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
    """What the read-only tools of one server answer, failures left out."""
    made = synthesise(server, seed, REQUESTS)
    tools = {tool.name: tool for tool in server.tools if is_harmless(tool)}
    entries = [entry for entry in made.training.entries if entry.tool in tools]
    # What asks for little comes first: what it answers holds names and keys that the others ask for.
    entries.sort(key=lambda entry: len(tools[entry.tool].input_schema.get("required") or ()))
    found: dict[str, list[str]] = {}
    seen: dict[str, list[JSON]] = {}
    for entry in entries:
        tool = tools[entry.tool]
        rng = random.Random(f"{seed} {server.name} {tool.name} executed")
        templates = rng.sample(entry.requests, min(CALLS, len(entry.requests)))
        made_up = [fill(template, rng)[1] for template in templates]
        for arguments in [*_known(tool, made_up, seen, rng), *made_up][:CALLS]:
            call = ToolCall(server.name, tool.name, {**arguments, **_fixed(server, tool)})
            try:
                result = await gateway.call(call.server, call.tool, call.arguments)
            except DualTuneError:
                continue  # a call that the policy, the schema or the server refuses teaches nothing
            text = observe(call, result, RESULT_CHARS).result
            if not result.is_error and text.strip() and text not in found.setdefault(tool.name, []):
                found[tool.name].append(text)
                _note(_structured(result), seen)
            if len(found.get(tool.name, ())) == KEPT:
                break
    return {name: texts for name, texts in found.items() if texts}


def _known(
    tool: ToolSpec, made_up: Sequence[Mapping[str, JSON]], seen: Mapping[str, Sequence[JSON]], rng: random.Random
) -> list[dict[str, JSON]]:
    """Some of the calls that were made up, with required values that stood in results; none where there are none.

    A server that is asked for what it does not have answers with errors only.
    """
    needed = tool.input_schema.get("required") or ()
    fitting = {name: [value for key in seen for value in seen[key] if _same(name, key)] for name in needed if made_up}
    fitting = {name: values for name, values in fitting.items() if values}
    if not fitting:
        return []
    drawn = [{name: rng.choice(values) for name, values in fitting.items()} for _ in made_up[:ASKED_AGAIN]]
    return [{**arguments, **known} for arguments, known in zip(made_up, drawn, strict=False)]


def _same(parameter: str, key: str) -> bool:
    """Whether a key of a result names what a parameter asks for: `ticket_key` and `key`, `noteTitle` and `title`."""
    wanted, given = ("".join(word for word in text.lower() if word.isalnum()) for text in (parameter, key))
    return len(given) > 1 and (wanted.endswith(given) or given.endswith(wanted))


def _structured(result: ToolResult) -> JSON:
    if result.structured is not None:
        return result.structured
    try:
        return json.loads(result.text)
    except (ValueError, RecursionError):
        return None


def _note(value: JSON, seen: dict[str, list[JSON]], key: str = "", depth: int = 6) -> None:
    """Collect the plain values of a result by their keys."""
    if isinstance(value, Mapping) and depth:
        for name, inner in value.items():
            _note(inner, seen, name, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value[:SEEN]:
            _note(inner, seen, key, depth - 1)
    elif isinstance(value, str | int) and not isinstance(value, bool) and key and len(str(value)) <= LONGEST_VALUE:
        values = seen.setdefault(key, [])
        if value not in values and len(values) < SEEN:
            values.append(value)


def is_harmless(tool: ToolSpec) -> bool:
    """Whether the server says that calling the tool changes nothing."""
    return tool.annotations.get("readOnlyHint") is True and tool.annotations.get("destructiveHint") is not True


def _fixed(server: ServerSpec, tool: ToolSpec) -> dict[str, object]:
    known = tool.input_schema.get("properties") or {}
    return {name: value for name, value in server.fixed_arguments.items() if name in known}


class _NoModel:
    """Stands where nothing is decided, so that no model is loaded."""
