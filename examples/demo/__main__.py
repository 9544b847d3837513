"""`python -m examples.demo`: every request through the gateway to real servers, right or wrong, with the reasons.

A wrong choice of the model is shown and counted; only broken machinery makes the demonstration fail.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from examples.demo.requests import CASES, Case
from examples.demo.workspace import Workspace, build
from mcp_dualtune import DualTuneError, Gateway, Request, load_config
from mcp_dualtune.cli.show import Screen
from mcp_dualtune.types import Trajectory

CASE_LIMIT = 120.0
"""Seconds for one request."""
RESULT_LINES = 6


@dataclass
class Tally:
    """How it went."""

    right: int = 0
    wrong: int = 0
    broken: int = 0
    left_out: int = 0
    ms: list[float] = field(default_factory=list)


async def demonstrate(workspace: Workspace, screen: Screen) -> Tally:
    """Send every request that the available servers can answer."""
    tally = Tally()
    async with Gateway(load_config(workspace.config)) as gateway:
        with screen.status("Starting the servers and loading the model"):
            await gateway.wait_ready()
        for number, case in enumerate(CASES, 1):
            screen.line()
            screen.line(f"{number:2}. {case.text}", "bold")
            absent = case.servers - {server.name for server in gateway.catalog.servers}
            if absent:
                expected = absent.isdisjoint(workspace.servers)
                tally.left_out += expected
                tally.broken += not expected
                why = "it needs Node.js" if expected else "it did not start"
                screen.line(f"  left out: no {', '.join(sorted(absent))} server ({why})", "yellow")
                continue
            try:
                with anyio.fail_after(CASE_LIMIT):
                    trajectory = await gateway.do(Request(case.text), max_steps=len(case.calls) + 1)
            except (DualTuneError, TimeoutError) as error:
                tally.broken += 1
                screen.line(f"  broken: {type(error).__name__}: {error}", "bold red")
                continue
            judge(case, trajectory, screen, tally)
    return tally


def judge(case: Case, trajectory: Trajectory, screen: Screen, tally: Tally) -> None:
    """Show one run and count it."""
    for step in trajectory.steps:
        screen.decision(step.decision, case.text)
        lines = step.result.text.splitlines()
        for line in lines[:RESULT_LINES]:
            screen.line(f"    | {line[:110]}", "red" if step.result.is_error else "dim")
        if len(lines) > RESULT_LINES:
            screen.line(f"    | … {len(lines) - RESULT_LINES} more lines", "dim")
    if not trajectory.steps:
        screen.decision(trajectory.final, case.text)
    right = case.right(trajectory)
    tally.right += right
    tally.wrong += not right
    tally.ms += [step.decision.ms for step in trajectory.steps] or [trajectory.final.ms]
    if right:
        screen.line(f"  right, {trajectory.ms:.0f} ms in all", "green")
    else:
        screen.line(f"  WRONG, {trajectory.ms:.0f} ms in all; expected {wanted(case)}", "bold red")


def wanted(case: Case) -> str:
    """What would have been right, in a few words."""
    if not case.calls:
        return {"ask": "a question for the missing value", "none": "no call at all"}[case.outcome]
    return ", then ".join(
        f"{call.server}/{' or '.join(call.tools)} {dict(call.arguments) or ''}".strip() for call in case.calls
    )


def main() -> int:
    """Build the workspace, run, sum up; the exit code tells only of broken machinery."""
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="dualtune-demo-") as folder:
        workspace = build(Path(folder))
        screen.line(f"Servers: {', '.join(workspace.servers)}", "bold")
        if "filesystem" not in workspace.servers:
            screen.line("Node.js or its servers are not here, so filesystem and memory are left out (make install).")
        tally = anyio.run(demonstrate, workspace, screen)
    judged = tally.right + tally.wrong
    screen.line()
    screen.line(
        f"{tally.right} of {judged} right, {tally.wrong} wrong, {tally.left_out} left out, {tally.broken} broken; "
        f"median decision {statistics.median(tally.ms or [0.0]):.0f} ms",
        "bold",
    )
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
