"""`dualtune doctor`: check everything that a request needs, and say what to do about what is broken."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mcp_dualtune.config import Config
    from mcp_dualtune.gateway import Gateway
    from mcp_dualtune.pipeline.decide import Pipeline

State = Literal["ok", "note", "broken"]
NODE_PROGRAMS = ("node", "npm", "npx")
PROBE = "What can you do for me?"
PROBE_LIMIT = 120.0
"""Seconds for one decision; more than this is of no use to anybody."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str
    hint: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`doctor` has only the common options."""


def run(args: argparse.Namespace) -> int:
    """Check, print, and end with 1 when anything is broken."""
    import anyio

    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    screen = Screen()
    checks: list[Check] = []
    with screen.status("Checking"):
        config = _config(args, checks)
        if config is not None:
            checks += _programs(config)
            pipeline = _model(config, checks)
            checks += anyio.run(_living, config, pipeline)
    broken = any(check.state == "broken" for check in checks)
    if args.json:
        listed = [vars(check) for check in checks]
        exits.print_json({"ok": not broken, "checks": listed})
    else:
        marks = {"ok": ("ok", "green"), "note": ("note", "yellow"), "broken": ("BROKEN", "bold red")}
        for check in checks:
            mark, style = marks[check.state]
            screen.line(f"{mark:<7} {check.name}: {check.detail}", style if check.state != "ok" else "")
            if check.hint:
                screen.line(f"        {check.hint}")
    return exits.FAILED if broken else exits.DONE


def _broken(name: str, error: Exception) -> Check:
    from mcp_dualtune.errors import DualTuneError, leaf_error

    leaf = leaf_error(error)
    if isinstance(leaf, DualTuneError):
        return Check(name, "broken", leaf.message, leaf.hint)
    return Check(name, "broken", f"unexpected {type(leaf).__name__}: {leaf}", "Report this with what --verbose prints.")


def _config(args: argparse.Namespace, checks: list[Check]) -> Config | None:
    from mcp_dualtune import __version__
    from mcp_dualtune.config import default_path, load_config
    from mcp_dualtune.errors import ConfigError

    checks.append(Check("program", "ok", f"mcp-dualtune {__version__}, Python {sys.version.split()[0]}"))
    try:
        config = load_config(args.config)
    except ConfigError as error:
        checks.append(_broken("config", error))
        return None
    names = ", ".join(server.name for server in config.servers) or "no servers"
    if config.servers:
        checks.append(Check("config", "ok", f"{config.path}: {names}"))
    else:
        hint = "Put a client's `mcpServers` block there, or name its file with --config."
        checks.append(Check("config", "broken", f"no servers in {config.path or default_path()}", hint))
    if config.disabled:
        checks.append(Check("config", "note", f"switched off in the file: {', '.join(config.disabled)}"))
    return config


def _programs(config: Config) -> Iterator[Check]:
    commands = {server.name: server.command for server in config.servers if server.command}
    for name, command in commands.items():
        if shutil.which(command) is None:
            hint = "Install it, or write the whole path in the config."
            yield Check(f"command of {name}", "broken", f"{command} is not found", hint)
    if any(Path(command).name in NODE_PROGRAMS for command in commands.values()):
        yield _node()


def _node() -> Check:
    program = shutil.which("node")
    if program is None:
        return Check("Node.js", "broken", "not found, but a server needs it", "Install Node 20 or newer.")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    return Check("Node.js", "ok", done.stdout.strip())


def _model(config: Config, checks: list[Check]) -> Pipeline | None:
    from mcp_dualtune.errors import DualTuneError
    from mcp_dualtune.models import encoder_folder, load_pipeline, writer_of

    started = perf_counter()
    try:
        pipeline = load_pipeline(config.settings)
        seconds = perf_counter() - started
        detail = f"{writer_of(config.settings.model)}, digest {pipeline.filling.engine.digest[:12]}"
        if pipeline.choosing is not pipeline.filling:
            served = {stage: remote.url for remote in config.settings.model.remote for stage in remote.stages}
            choosing = served.get("select") or encoder_folder()
            detail += f"; choosing: {choosing}, digest {pipeline.choosing.engine.digest[:12]}"
        checks.append(Check("model", "ok", f"{detail}; loaded in {seconds:.1f} s"))
    except DualTuneError as error:
        checks.append(_broken("model", error))
        return None
    return pipeline


async def _living(config: Config, pipeline: Pipeline | None) -> list[Check]:
    """What can only be seen with the servers running."""
    from typing import cast

    from mcp_dualtune.errors import DualTuneError
    from mcp_dualtune.gateway import Gateway

    checks: list[Check] = []
    async with Gateway(config, pipeline=lambda: cast(Any, pipeline)) as gateway:
        await gateway.wait_ready()
        checks += _servers(gateway)
        if pipeline is not None:
            checks += _adapters(pipeline, gateway)
        if pipeline is not None and gateway.catalog.servers:
            try:
                checks.append(await _speed(gateway))
            except (DualTuneError, TimeoutError) as error:
                checks.append(_broken("decision", error))
    return checks


def _servers(gateway: Gateway) -> Iterator[Check]:
    for state in gateway.server_states():
        name = f"server {state.name}"
        if state.error is not None:
            yield Check(name, "broken", state.error.message, state.error.hint)
        elif state.status != "ready":
            hint = "Raise its start_timeout in the config if it only needs longer."
            yield Check(name, "broken", f"still {state.status} after its start_timeout", hint)
        else:
            yield Check(name, "ok", f"{state.tools} tools over {state.transport}, protocol {state.protocol}")
        for tool in gateway.skipped_tools.get(state.name, ()):
            yield Check(name, "note", f"the tool {tool.name} is left out: {tool.reason}")


def _adapters(pipeline: Pipeline, gateway: Gateway) -> Iterator[Check]:
    choosing, filling = pipeline.choosing.adapters, pipeline.filling.adapters
    used = {ref.name for ref in [choosing.best("route")] if ref}
    for server in gateway.catalog.servers:
        found = [choosing.best("select", server=server.name, fingerprint=server.tools_fingerprint)]
        for tool in server.tools:
            found.append(
                filling.best("arguments", server=server.name, tool=tool.name, fingerprint=tool.schema_fingerprint)
            )
        used |= {ref.name for ref in found if ref}
    names = ", ".join(sorted(used)) or "none: the base model speaks everywhere"
    yield Check("adapters", "ok", f"in use: {names}")
    for path, reason in {**choosing.refused, **filling.refused}.items():
        yield Check("adapters", "broken", f"refused: {path}: {reason}", "Train it again, or remove its folder.")
    for path, reason in {**choosing.retired, **filling.retired}.items():
        yield Check("adapters", "note", f"retired: {path}: {reason}")


async def _speed(gateway: Gateway) -> Check:
    import anyio

    from mcp_dualtune.types import Request

    took = []
    with anyio.fail_after(PROBE_LIMIT):
        for _ in range(2):
            decision = await gateway.plan(Request(PROBE))
            took.append(decision.ms)
    return Check("decision", "ok", f"{took[0]:.0f} ms the first time, {took[1]:.0f} ms with a warm cache")
