"""Which adapters a server gets, in which order, and how the time is shared among them.

Owns that arithmetic. What takes part of the time is decided by expected use: every request asks for a choice, so that
comes first; tools follow by how often the user's examples name them and by how often they are wrong now.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.loop import Plan
from mcp_dualtune.training.lora import Job
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import ServerSpec, ToolSpec

Kind = Literal["choose", "read", "write"]
CHOOSING, READING = 2.5, 8.0
"""What choosing weighs, and reading for all tools where all of it is wrong, against the arguments of one tool that are
all wrong."""
GOOD_ENOUGH = 0.97
"""Share of right ones above which a tool needs no adapter: megabytes count."""
SPENT = 0.8
"""Share of the budget that trains; the rest measures."""
ENOUGH = 0.75
"""Of the time of a first training: with less left, there is no second one, whose adapter would be the worse one."""
CHOOSE = Plan(steps=90, rows=2, other_rate=3e-4, warmup=5, decay=0.8, save_every=10)
READ = Plan(steps=60, rows=6, other_rate=2e-3, warmup=4, decay=0.8, save_every=10)
WRITE = Plan(steps=40, rows=4, other_rate=2e-3, warmup=4, decay=0.8, save_every=10)
PLANS: dict[Kind, Plan] = {"choose": CHOOSE, "read": READ, "write": WRITE}
UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Task:
    """One adapter to make, and what it may cost."""

    kind: Kind
    job: Job
    weight: float
    trainings: int = 1
    """2 where a kept adapter is trained once more, on what was held out of the first training."""

    @property
    def name(self) -> str:
        """For people: `select/git`, `arguments/git/git_log (reading)`."""
        return self.job.name + {"choose": "", "read": " (reading)", "write": " (writing)"}[self.kind]


def choosing_task(server: ServerSpec) -> Task:
    """The adapter that chooses among the server's tools."""
    place = f"choose/{server.name}"
    return Task("choose", Job("select", CHOOSE, server.name, None, server.tools_fingerprint, place), CHOOSING)


def reading_task(server: ServerSpec, wrong: float) -> Task:
    """The adapters that read for all tools of the server, trained as one; the share `wrong` of requests is read wrongly
    now."""
    job = Job("arguments", PLANS["read"], server.name, None, None, f"read/{server.name}")
    return Task("read", job, READING * max(wrong, 0.05))


def writing_task(server: ServerSpec, tool: ToolSpec, wrong: float, use: float) -> Task:
    """An adapter that writes one tool's arguments, of which the share `wrong` is wrong now; `use` is 1 for a common
    tool."""
    job = Job("arguments", PLANS["write"], server.name, tool.name, tool.schema_fingerprint, f"write/{tool.name}")
    return Task("write", job, max(wrong, 0.05) * use)


def expected_use(server: ServerSpec, examples: Sequence[OwnExample]) -> dict[str, float]:
    """How much more or less than the average each tool is asked for, as far as the user's examples tell; never 0."""
    named = Counter(example.tool for example in examples if example.server == server.name)
    mean = (sum(named.values()) + len(server.tools)) / len(server.tools)
    return {tool.name: (named[tool.name] + 1) / mean for tool in server.tools}


def ordered(tasks: Sequence[Task]) -> list[Task]:
    """By what they are expected to be worth."""
    return sorted(tasks, key=lambda task: -task.weight)


def planned(task: Task, left: float, waiting: Sequence[Task]) -> Plan:
    """The plan of `task`, first of those `waiting`, which share `left` seconds among all their trainings."""
    if math.isinf(left):
        return task.job.plan
    share = task.weight / sum(one.weight * one.trainings for one in waiting)
    return replace(task.job.plan, minutes=max(left * share, 1.0) / 60)


def once_more(plan: Plan, took: float, left: float) -> Plan | None:
    """The plan of a training that took so many seconds, within `left` seconds; None where these are too few."""
    return replace(plan, minutes=min(plan.minutes, left / 60)) if left >= ENOUGH * took else None


def parse_budget(text: str) -> float:
    """`90s`, `5m`, `1.5h`, or plain minutes -> seconds.

    Raises:
        TrainingError: it is none of these.
    """
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 60)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise TrainingError(f"{text!r} is no length of time.", hint="Write it as 90s, 5m or 1h.")
    return seconds
