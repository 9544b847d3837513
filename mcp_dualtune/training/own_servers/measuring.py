"""How good the stages are on held-out requests of one server: the pipeline that serves, asked case by case.

Owns what counts as right here: the made-up requests have one answer each, so equal is right. Suites that people wrote
are `evaluation`'s business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.errors import EngineError
from mcp_dualtune.pipeline.arguments import fill
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.select import select
from mcp_dualtune.pipeline.stages import Parts
from mcp_dualtune.training.lora import TEMPERATURES
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import FINISH, NONE, Request, ServerSpec

CONFUSIONS = 5
PRIOR, FLOOR = 2.0, 1e-4


@dataclass
class Tally:
    """Right ones of all, and what was taken for what."""

    right: int = 0
    total: int = 0
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(right, decided) -> how often."""
    chances: list[tuple[float, bool]] = field(default_factory=list)
    """How sure the stage was, and whether it was right."""
    choices: list[tuple[tuple[float, ...], int]] = field(default_factory=list)
    """Probabilities of all options, and the place of the right one; only of choices."""

    @property
    def share(self) -> float | None:
        """0..1, None where nothing was measured."""
        return self.right / self.total if self.total else None

    def add(self, right: bool, chance: float = 1.0) -> None:
        """Count one case."""
        self.right += right
        self.total += 1
        self.chances.append((chance, right))


@dataclass(frozen=True)
class Whole:
    """Whole decisions: the stages one after another, as served."""

    tool: Tally
    """Cases with a tool to choose."""
    call: Tally
    """Cases with a call to make: tool and all arguments."""
    decision: Tally
    """All cases, asking, refusing and finishing included."""


def measure_select(pipeline: Pipeline, server: ServerSpec, cases: Sequence[Case]) -> Tally:
    """Choices among the tools of `server`, `none` and `finish`."""
    tally = Tally()
    for case in cases:
        choice = select(Parts(pipeline.choosing, Event()), _request(case), server)
        found = choice.record.choice
        tally.add(found == case.tool, choice.record.probability)
        names = [name for name, _ in choice.options]
        if case.tool in names:
            tally.choices.append((tuple(chance for _, chance in choice.options), names.index(case.tool)))
        if found != case.tool:
            tally.confusions[case.tool, found] += 1
    return tally


def measure_arguments(pipeline: Pipeline, server: ServerSpec, cases: Sequence[Case]) -> Tally:
    """Arguments and questions, where the tool is given."""
    tally = Tally()
    parts = Parts(pipeline.filling, Event())
    for case in cases:
        tool = next(tool for tool in server.tools if tool.name == case.tool)
        try:
            filled = fill(parts, _request(case), server, tool, reader=pipeline.reader)
        except EngineError:
            tally.add(False, 0.0)
            continue
        tally.add(_filled_right(case, server, dict(filled.arguments), filled.missing), filled.record.probability)
    return tally


def measure_whole(pipeline: Pipeline, server: ServerSpec, cases: Sequence[Case]) -> Whole:
    """Decisions with the server given, so that other servers have no say."""
    whole = Whole(Tally(), Tally(), Tally())
    catalog = Catalog((server,))
    for case in cases:
        try:
            decision = pipeline.decide(_request(case), catalog, Event())
        except EngineError:
            outcome, tool, right = "error", None, False
        else:
            outcome, tool = decision.outcome, decision.tool
            right = tool == case.tool and _filled_right(case, server, dict(decision.arguments), decision.missing)
        if case.tool in (NONE, FINISH):
            whole.decision.add(outcome == case.tool)
            found = tool or outcome
        else:
            found = tool or outcome
            whole.tool.add(tool == case.tool)
            if case.arguments is None:
                continue  # only the tool is known
            whole.decision.add(right)
            if not case.missing:
                whole.call.add(right)
        if found != case.tool:
            whole.tool.confusions[case.tool, found] += 1
    return whole


def fit_temperature(tally: Tally) -> float:
    """The temperature under which the probabilities of a stage, measured at 1, say best how often it is right.

    A few dozen cases fit almost anything, so what is far from 1 has to be worth it.
    """

    def loss(temperature: float) -> float:
        total = PRIOR * math.log(temperature) ** 2
        for chances, right in tally.choices:
            scaled = [math.log(max(chance, FLOOR)) / temperature for chance in chances]
            top = max(scaled)
            total -= scaled[right] - top - math.log(sum(math.exp(one - top) for one in scaled))
        for chance, hit in () if tally.choices else tally.chances:
            scaled_chance = min(max(chance ** (1 / temperature), FLOOR), 1 - FLOOR)
            total -= math.log(scaled_chance if hit else 1 - scaled_chance)
        return total

    return min(TEMPERATURES, key=loss)


def _request(case: Case) -> Request:
    return Request(case.query, case.history, dict(case.context), (case.server.name,))


def _filled_right(case: Case, server: ServerSpec, arguments: dict[str, object], missing: Sequence[str]) -> bool:
    if case.missing:
        # What is known of an incomplete call is shown to the user, but the question is the answer.
        return set(missing) == set(case.missing)
    known = set(next(tool for tool in server.tools if tool.name == case.tool).input_schema.get("properties") or {})
    fixed = {name: value for name, value in server.fixed_arguments.items() if name in known}
    return not missing and arguments == {**(case.arguments or {}), **fixed}
