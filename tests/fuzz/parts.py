"""Hostile config files and tool definitions, in this process: every one is used or refused, soon and in words."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mcp.types as mcp_types

from mcp_dualtune.agent.history import bounded
from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.catalog.naming import PublicNames
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.catalog.shortlist import rank_tools
from mcp_dualtune.cli.definition_text import definition_lines
from mcp_dualtune.config import ServerConfig, read_config
from mcp_dualtune.errors import ConfigError, DualTuneError
from mcp_dualtune.mcp_server.results import wire_tool
from mcp_dualtune.prompting.answer import Filled
from mcp_dualtune.prompting.schema_text import type_text
from mcp_dualtune.security.pin_file import PinFiles, identity_of
from mcp_dualtune.security.pins import Pins
from mcp_dualtune.security.policy import Policy
from mcp_dualtune.security.untrusted import clean_server
from tests.fuzz.inputs import Inputs, as_text

SLOWEST = 10
"""Seconds for one input; honest ones need milliseconds."""
SERVER = ServerConfig("hostile", "stdio", command="x")


class Hang(Exception):
    """An input that was not dealt with in time."""


@contextmanager
def limited(seconds: int = SLOWEST) -> Iterator[None]:
    """Raise `Hang` inside when it takes too long; also inside a regular expression, which looks for signals."""

    def late(*_: Any) -> None:
        raise Hang(f"more than {seconds} s")

    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(work: Callable[[Inputs], str], family: str, seed: int, count: int, failures: list[str]) -> Counter[str]:
    """Do `work` on `count` inputs; what it counts them as."""
    outcomes: Counter[str] = Counter()
    for place in range(count):
        inputs = Inputs(f"{seed} {family} {place}")
        try:
            with limited():
                outcomes[work(inputs)] += 1
        except Exception as error:
            outcomes["failed"] += 1
            failures.append(f"{family} {place} of seed {seed}: {type(error).__name__}: {str(error)[:300]}")
    return outcomes


def config(inputs: Inputs) -> str:
    """A config file is read or refused with a remedy."""
    try:
        text = inputs.config().decode("utf-8-sig")
    except UnicodeDecodeError:
        return "refused"
    try:
        read_config(text, Path("/nowhere/config.json"), {"HOME": "/home/ana"})
    except ConfigError as error:
        assert error.hint and "config.json" in error.message, error
        return "refused"
    return "used"


def definition(inputs: Inputs, folder: Path) -> str:
    """The tools of a server are offered or left out with a reason, and can be shown, pinned, checked and called."""
    listed = [inputs.tool() for _ in range(inputs.rng.choice((1, 2)))]
    honest = {"name": "honest", "description": "Reads.", "inputSchema": {"type": "object"}}
    seen = Pins("enforce", folder).check(SERVER, [*listed, honest], inputs.rng.choice((None, "Be good.")))
    built = build_server("hostile", "", seen.tools)
    assert "honest" in [tool.name for tool in built.spec.tools]
    assert all(skipped.reason for skipped in built.skipped)
    shown = clean_server(built.spec, ("<|end|>",))
    names = PublicNames((tool.server, tool.name) for tool in built.spec.tools)
    for tool, seen_tool in zip(built.spec.tools, shown.tools, strict=True):
        type_text(seen_tool.input_schema)
        Policy().check(tool)
        mcp_types.Tool.model_validate(wire_tool(tool, names.join(tool.server, tool.name)))
        for arguments in ({}, {"path": "a" * 60 + "!", "x": {"x": {}}}, {"path": inputs.value(2), "a" * 40 + "!": 1}):
            assert all(isinstance(problem, str) for problem in validate_arguments(tool.input_schema, arguments))
        try:
            Filled().grammar(seen_tool.input_schema, ("some request",))
        except DualTuneError:
            continue
    rank_tools("read the path", [shown], 5)
    bounded(as_text(inputs.result()), 4000)
    files = PinFiles(folder)
    known = files.load("hostile", identity_of(SERVER))
    for entry in known.pinned.values() if known else ():
        definition_lines(entry.definition.value)
    for path in files.paths():
        path.unlink()
    return "offered" if len(built.spec.tools) > 1 else "left out"
