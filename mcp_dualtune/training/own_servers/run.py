"""One server's adapters from beginning to end: measure, train, measure again, keep what is better.

Owns the order of things, the clock, and what is kept between starts. Refuses to own: which adapter is better
(`judging`), putting adapters into use, and what is shown (the caller is told).
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from mcp_dualtune.adapter_registry.manifest import WEIGHTS, Scores, load_manifest, save_manifest
from mcp_dualtune.config import Settings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering import Gathered
from mcp_dualtune.training.own_servers.bench import Bench, Tuning, bases
from mcp_dualtune.training.own_servers.budget import (
    GOOD_ENOUGH,
    Task,
    arguments_task,
    choosing_task,
    expected_use,
    ordered,
    planned,
)
from mcp_dualtune.training.own_servers.judging import judge, weighted
from mcp_dualtune.training.own_servers.material import Results, make_material
from mcp_dualtune.training.own_servers.measuring import (
    Tally,
    fit_temperature,
    measure_arguments,
    measure_select,
    measure_whole,
)
from mcp_dualtune.training.own_servers.outcome import Made, Outcome, rounded, summary
from mcp_dualtune.training.own_servers.run_state import RunState
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import ServerSpec

HELPS = 0.1
"""Share of requests that an adapter must be able to help, to be made at all."""
SAMPLE = 40
"""Cases that are measured at least; a tight budget measures no more than it can pay for."""
MEASURING = 0.08
"""Share of the budget that one measurement of a whole part may take."""


class Tell(Protocol):
    """Somebody who is told how far it is."""

    def phase(self, text: str) -> None:
        """What begins now."""
        ...

    def share(self, done: float, left: float) -> None:
        """The share 0..1 of the run that is done, and the seconds that are left of it."""
        ...


@dataclass(frozen=True)
class Wish:
    """What the user asked for."""

    seed: int = 0
    budget: float = math.inf
    """Seconds for one server."""
    gathered: Gathered = field(default_factory=Gathered)
    """Requests from elsewhere than the schemas, of this server and perhaps of others."""
    results: Results = field(default_factory=dict)
    again: bool = False
    tuning: Tuning = field(default_factory=Tuning)


def train_server(server: ServerSpec, settings: Settings, wish: Wish, root: Path, tell: Tell) -> Outcome:
    """Train, measure and keep the adapters of one server; what is better lies in the run's folder below `root`.

    Interrupting (KeyboardInterrupt) is safe: the same call goes on where it stopped.

    Raises:
        TrainingError: nothing can be made for this server.
        ModelLoadError, AdapterError: the configured models cannot be used.
    """
    own = [one for one in wish.gathered.examples if one.example.server == server.name]
    content = {
        "server": [server.name, server.fingerprint, dict(server.fixed_arguments)],
        "wish": [
            wish.seed,
            None if math.isinf(wish.budget) else wish.budget,
            repr(own),  # with the source of each: manifests name it
            dict(wish.results),
            dict(wish.tuning.recipe),
        ],
        "bases": bases(settings),
    }
    state = RunState.open(root, server.name, content, again=wish.again)
    return _Run(server, settings, wish, state, tell).run()


class _Run:
    def __init__(self, server: ServerSpec, settings: Settings, wish: Wish, state: RunState, tell: Tell) -> None:
        self.wish, self.state, self.tell = wish, state, tell
        self.resumed = bool(state.record)
        self.started = time.monotonic() - state.seconds
        tell.phase(f"{server.name}: loading the model")
        self.bench = Bench(settings, state.adapters, wish.tuning)
        self.server = self.bench.shown(server)
        tell.phase(f"{server.name}: making requests")
        self.material = make_material(self.server, wish.seed, wish.gathered, wish.results)
        if not any(entry.requests for entry in self.material.training.entries):
            about = "; ".join(f"{tool}: {reason}" for tool, reason in self.material.skipped.items())
            raise TrainingError(
                f"Nothing can be made up for the server {server.name!r}. {about}".strip(),
                hint="Give requests of your own with --examples FILE.",
            )

    @property
    def spent(self) -> float:
        return time.monotonic() - self.started

    def run(self) -> Outcome:
        try:
            return self._run()
        except KeyboardInterrupt:
            self.state.put(True, "interrupted", seconds=self.spent)
            raise

    def _run(self) -> Outcome:
        state, name = self.state, self.server.name
        before = state.get("before") or self._before()
        tasks = self._tasks(before)
        made, unreached = [], []
        for number, task in enumerate(tasks):
            if (known := state.get("made", task.job.folder)) is not None:
                made.append(Made.from_json(known))
                continue
            if self._left(before, len(tasks) - number, len(tasks)) <= 0:
                unreached.append(task.name)
                continue
            one = self._one(task, before, tasks[number:], len(tasks))
            state.put(one.to_json(), "made", task.job.folder, seconds=self.spent)
            made.append(Made.from_json(one.to_json()))  # as another start of the same run would tell it
        after = state.get("after")
        if after is None:
            self.tell.phase(f"{name}: measuring the whole")
            after = summary(measure_whole(self.bench.pipeline, self.server, self._sample(self.material.report)))
            state.put(after, "after", seconds=self.spent)
            state.tidy()
        return Outcome(
            name, tuple(made), before["whole"], after, self.material.sources, self.material.skipped,
            float(state.record["seconds"]), state.folder, self.resumed, tuple(unreached),
        )  # fmt: skip

    # -- before ----------------------------------------------------------------------------------------------------

    def _before(self) -> Mapping[str, Any]:
        """What the adapters in use come to: as a whole, and stage by stage."""
        started, pipeline, material = self.spent, self.bench.pipeline, self.material
        self.tell.phase(f"{self.server.name}: measuring the adapters in use")
        probe = material.report[: min(8, len(material.report))]
        measure_whole(pipeline, self.server, probe)
        pace = (self.spent - started) / max(len(probe), 1)
        budget = self.wish.budget
        cases = len(material.report) if math.isinf(budget) else max(SAMPLE, int(budget * MEASURING / max(pace, 1e-6)))
        self.state.put(cases, "sample")
        whole = measure_whole(pipeline, self.server, self._sample(material.report))
        select = measure_select(pipeline, self.server, self._sample(material.gate))
        tools = {}
        for tool in self.server.tools:
            given = material.cases(material.gate, tool.name)
            kinds = self.bench.kinds(material, tool) if given else {}
            tally = measure_arguments(pipeline, self.server, given) if kinds else Tally()
            answers = [
                (right, case.query in material.gathered) for (_, right), case in zip(tally.chances, given, strict=False)
            ]
            tools[tool.name] = {"share": weighted(answers), "total": tally.total, "kinds": dict(kinds)}
        found = {
            "whole": summary(whole),
            "select": {"right": select.right, "total": select.total},
            "tools": tools,
            "seconds": self.spent - started,
        }
        self.state.put(found, "before", seconds=self.spent)
        return found

    def _sample(self, cases: Sequence[Case]) -> Sequence[Case]:
        return cases[: int(self.state.get("sample") or len(cases))]

    # -- tasks -----------------------------------------------------------------------------------------------------

    def _tasks(self, before: Mapping[str, Any]) -> list[Task]:
        use = expected_use(self.server, self.wish.gathered.said(self.server.name))
        tasks = [choosing_task(self.server)] if len(self.server.tools) > 1 else []
        arguments = []
        for tool in self.server.tools:
            known = before["tools"][tool.name]
            wrong = 0.0 if known["share"] is None else 1 - known["share"]
            if wrong > 1 - GOOD_ENOUGH:
                arguments += [
                    arguments_task(kind, self.server, tool, wrong * share, use[tool.name])
                    for kind, share in known["kinds"].items()
                    if share >= HELPS
                ]
        return [*tasks, *ordered(arguments)]

    def _left(self, before: Mapping[str, Any], waiting: int, tasks: int) -> float:
        """Seconds that may still be trained: measuring again costs about what measuring before did."""
        return self.wish.budget - self.spent - float(before["seconds"]) * (0.4 + 0.6 * waiting / max(tasks, 1))

    def _one(self, task: Task, before: Mapping[str, Any], waiting: Sequence[Task], tasks: int) -> Made:
        started, state = self.spent, self.state
        plan = planned(task, self._left(before, len(waiting), tasks), waiting)
        if (minutes := state.get("minutes", task.job.folder)) is not None:
            plan = replace(plan, minutes=float(minutes))  # what it was given when it was begun
        elif not math.isinf(plan.minutes):
            state.put(plan.minutes, "minutes", task.job.folder)
        task = replace(task, job=replace(task.job, plan=plan))
        self.tell.phase(f"{self.server.name}: {task.name}")
        target = state.adapters / task.job.folder
        if target.exists():  # finished, but interrupted before it was judged
            shutil.rmtree(target)
            self.bench.pipeline.refresh(closely=True)
        had = self._measured(task)
        done = 1 - len(waiting) / tasks

        def watch(share: float) -> None:
            whole = done + share / tasks
            ahead = self.spent * (1 - whole) / max(whole, 0.02) if math.isinf(self.wish.budget) else math.inf
            self.tell.share(whole, min(self.wish.budget - self.spent, ahead))

        checkpoints = state.folder / "checkpoints" / task.job.folder
        self.bench.train(task, self.material, self.wish.seed, checkpoints, target, watch)
        if len(waiting) == 1 or all(one.kind != task.kind for one in waiting[1:]):
            self.bench.drop(task.kind)
        self.bench.pipeline.refresh(closely=True)
        has = self._measured(task)
        verdict = judge(had, has, [case.query in self.material.gathered for case in self._gate(task)])
        size = (target / WEIGHTS).stat().st_size / 1e6
        if verdict.kept:
            scores = Scores(rounded(verdict.before), rounded(verdict.after))
            save_manifest(replace(load_manifest(target), scores=scores, temperature=fit_temperature(has)), target)
        else:
            shutil.rmtree(target)
        self.bench.pipeline.refresh(closely=True)
        return Made(
            task.name, task.kind, verdict.before, verdict.after, has.total, verdict.kept, verdict.reason,
            target if verdict.kept else None, size, self.spent - started,
            verdict.gathered, verdict.gathered_before, verdict.gathered_after,
        )  # fmt: skip

    def _gate(self, task: Task) -> Sequence[Case]:
        material = self.material
        return self._sample(material.gate) if task.job.tool is None else material.cases(material.gate, task.job.tool)

    def _measured(self, task: Task) -> Tally:
        measure = measure_select if task.job.tool is None else measure_arguments
        return measure(self.bench.pipeline, self.server, self._gate(task))
