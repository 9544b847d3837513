"""One server's adapters from beginning to end: measure, train, measure again, keep what is better, refit that.

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

from mcp_dualtune.adapter_registry.manifest import Scores, adapters_in, load_manifest, save_manifest
from mcp_dualtune.config import Settings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering import Gathered
from mcp_dualtune.training.loop import Plan, Watch
from mcp_dualtune.training.own_servers.bench import Bench, Tuning, bases
from mcp_dualtune.training.own_servers.budget import (
    GOOD_ENOUGH,
    Task,
    choosing_task,
    expected_use,
    once_more,
    ordered,
    planned,
    reading_task,
    writing_task,
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
from mcp_dualtune.training.own_servers.outcome import Made, Outcome, megabytes, rounded, summary
from mcp_dualtune.training.own_servers.refit import refit
from mcp_dualtune.training.own_servers.run_state import RunState
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import ServerSpec

HELPS = 0.1
"""Share of requests that an adapter must be able to help, to be made at all."""
SAMPLE, TOOL_SAMPLE = 40, 5
"""Cases that are measured at least, of whole decisions and of one tool's arguments; a tight budget measures no more
than it can pay for."""
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
        self.tasks: list[Task] = []
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
        self.bench.compare_with(self.material.exemplars)
        self.tasks, after = self._tasks(before), state.get("after")
        unreached = []
        for number, task in enumerate(self.tasks):
            if self._made(task) is None:
                if after is None and self._left(before, number) > 0:
                    self._keep(task, self._one(task, before, number))
                else:
                    unreached.append(task.name)
        if after is None:
            self.tell.phase(f"{name}: measuring the whole")
            after = summary(measure_whole(self.bench.pipeline, self.server, self._sample(self.material.report)))
            state.put(after, "after", seconds=self.spent)
            state.tidy()
        not_refitted = self._refit()
        made = tuple(one for task in self.tasks if (one := self._made(task)) is not None)
        return Outcome(
            name, made, before["whole"], after, self.material.sources, self.material.skipped,
            float(state.record["seconds"]), state.folder, self.resumed, tuple(unreached), not_refitted,
        )  # fmt: skip

    def _made(self, task: Task) -> Made | None:
        """What came of a task, as the record has it: another start of the same run would tell the same."""
        known = self.state.get("made", task.job.folder)
        return None if known is None else Made.from_json(known)

    def _keep(self, task: Task, made: Made) -> None:
        self.state.put(made.to_json(), "made", task.job.folder, seconds=self.spent)

    # -- before ----------------------------------------------------------------------------------------------------

    def _before(self) -> Mapping[str, Any]:
        """What the adapters in use come to: as a whole, and stage by stage."""
        started, pipeline, material = self.spent, self.bench.pipeline, self.material
        self.tell.phase(f"{self.server.name}: measuring the adapters in use")
        known = self.bench.remembered.of_tools(self.server)
        self.bench.compare_with(row for row in material.exemplars if row[2] in known.get(row[1], ()))
        probe = material.report[: min(8, len(material.report))]
        measure_whole(pipeline, self.server, probe)
        pace = (self.spent - started) / max(len(probe), 1)
        budget = self.wish.budget
        cases = len(material.report) if math.isinf(budget) else max(SAMPLE, int(budget * MEASURING / max(pace, 1e-6)))
        self.state.put(cases, "sample")
        whole = measure_whole(pipeline, self.server, self._sample(material.report))
        self.bench.compare_with(material.exemplars)  # as the new adapter will be: what it adds to them counts
        select = measure_select(pipeline, self.server, self._sample(material.gate))
        tools = {}
        for tool in self.server.tools:
            given = self._asked(tool.name)
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
        writing, read = [], []
        for tool in self.server.tools:
            known = before["tools"][tool.name]
            wrong = 0.0 if known["share"] is None else 1 - known["share"]
            if "read" in known["kinds"]:
                read.append((wrong, use[tool.name]))
            if wrong > 1 - GOOD_ENOUGH and known["kinds"].get("write", 0.0) >= HELPS:
                writing.append(writing_task(self.server, tool, wrong * known["kinds"]["write"], use[tool.name]))
        misread = sum(wrong * often for wrong, often in read) / max(sum(often for _, often in read), 1e-6)
        reading = [reading_task(self.server, misread)] if misread > 1 - GOOD_ENOUGH else []
        found = [*tasks, *ordered([*reading, *writing])]
        return [replace(task, trainings=1 + self.material.holds_out(task.job.tool)) for task in found]

    def _due(self) -> list[Task]:
        """The tasks whose adapters are trained once more."""
        return [task for task in self.tasks if task.trainings > 1 and (one := self._made(task)) and one.kept]

    def _left(self, before: Mapping[str, Any], number: int) -> float:
        """Seconds that task `number` and those after it may still train: measuring again costs about what measuring
        before did, and every second training what its first one did."""
        measuring = float(before["seconds"]) * (0.4 + 0.6 * (1 - number / len(self.tasks)))
        return self.wish.budget - self.spent - measuring - sum(self._took(task) for task in self._due())

    def _took(self, task: Task) -> float:
        """Seconds that the first training of a task has taken."""
        return float(self.state.get("took", task.job.folder) or 0.0)

    def _watch(self, start: float, width: float) -> Watch:
        """Tells how far the run is from how far a training is that is `width` of it and begins at `start`."""

        def watch(share: float) -> None:
            whole = start + share * width
            ahead = self.spent * (1 - whole) / max(whole, 0.02) if math.isinf(self.wish.budget) else math.inf
            self.tell.share(whole, min(self.wish.budget - self.spent, ahead))

        return watch

    def _free(self, task: Task, waiting: Sequence[Task]) -> None:
        """What trains this kind of adapter is needed no more where none of those `waiting` is of it."""
        if all(one.kind != task.kind for one in waiting):
            self.bench.drop(task.kind)

    def _one(self, task: Task, before: Mapping[str, Any], number: int) -> Made:
        started, state, waiting = self.spent, self.state, self.tasks[number:]
        plan = planned(task, self._left(before, number), waiting)
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
        width = 1 / sum(one.trainings for one in self.tasks)
        checkpoints = state.folder / "checkpoints" / task.job.folder
        took, began = self._took(task), self.spent
        try:
            watch = self._watch(number * width, width)
            self.bench.train(task, self.material, self.wish.seed, checkpoints, target, watch)
        finally:
            state.put(took + self.spent - began, "took", task.job.folder)
        self._free(task, waiting[1:])
        self.bench.pipeline.refresh(closely=True)
        has = self._measured(task)
        verdict = judge(had, has, [case.query in self.material.gathered for case in self._gate(task)])
        size = megabytes(target)
        if verdict.kept:
            scores, temperature = Scores(rounded(verdict.before), rounded(verdict.after)), fit_temperature(has)
            for adapter in adapters_in(target):
                save_manifest(replace(load_manifest(adapter), scores=scores, temperature=temperature), adapter)
        else:
            shutil.rmtree(target)
        self.bench.pipeline.refresh(closely=True)
        return Made(
            task.name, task.kind, verdict.before, verdict.after, has.total, verdict.kept, verdict.reason,
            target if verdict.kept else None, size, self.spent - started,
            verdict.gathered, verdict.gathered_before, verdict.gathered_after,
        )  # fmt: skip

    # -- after -----------------------------------------------------------------------------------------------------

    def _refit(self) -> tuple[str, ...]:
        """Train what is kept on everything; says which adapters the time did not reach, and which stay as they are."""
        due, complete, late = self._due(), self.material.complete(), []
        start = len(self.tasks) / max(sum(task.trainings for task in self.tasks), 1)
        for number, task in enumerate(due):
            first = self._made(task)
            assert first is not None
            if first.refitted:
                continue
            if (plan := self._plan_again(task)) is None:
                late.append(task.name)
                continue
            self.tell.phase(f"{self.server.name}: {task.name}, once more on all requests")
            began, width = self.spent, (1 - start) / len(due)
            again = replace(task, job=replace(task.job, plan=plan))
            watch = self._watch(start + number * width, width)
            made = refit(again, first, self.bench, complete, self.wish.seed, self.state, watch)
            self._keep(task, replace(made, seconds=first.seconds + self.spent - began))
            self._free(task, due[number + 1 :])
        if due:
            self.state.tidy()
        return tuple(late)

    def _plan_again(self, task: Task) -> Plan | None:
        """The plan that the first training had, or what is left of the time; None where that is not enough."""
        left, place = self.wish.budget - self.spent, task.job.folder
        given = self.state.get("minutes", place)
        plan = task.job.plan if given is None else replace(task.job.plan, minutes=float(given))
        if (begun := self.state.get("refit", place)) is not None:
            return replace(plan, minutes=float(begun)) if left > 0 else None
        found = once_more(plan, self._took(task), left)
        if found is not None and not math.isinf(found.minutes):
            self.state.put(found.minutes, "refit", place)
        return found

    def _asked(self, tool: str) -> Sequence[Case]:
        """The gate's requests to one tool, no more than a tight budget can pay for; gathered ones come first."""
        found = self.material.cases(self.material.gate, tool)
        if math.isinf(self.wish.budget):
            return found
        return found[: max(TOOL_SAMPLE, int(self.state.get("sample")) // len(self.server.tools))]

    def _gate(self, task: Task) -> Sequence[Case]:
        if task.job.tool is not None:
            return self._asked(task.job.tool)
        filled = [case for case in self.material.gate if case.arguments is not None]
        return self._sample(filled if task.kind == "read" else self.material.gate)

    def _measured(self, task: Task) -> Tally:
        measure = measure_select if task.kind == "choose" else measure_arguments
        return measure(self.bench.pipeline, self.server, self._gate(task))
