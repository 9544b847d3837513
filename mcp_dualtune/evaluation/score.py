"""Judges predictions against cases: accuracies with intervals, calibration, latency.

Owns what "right" means. Everything is computed from the predictions file's own fields, so that anybody can repeat it.
Refuses to own: running cases and showing numbers.

What the rates count, `accept` lists included everywhere:

- server: cases where a server is to be chosen (a call or a question); right when the decision names a right server.
- tool: the same cases; right when server and tool are right.
- full_call: cases where a call is to be made; right when outcome, server, tool and all arguments are right.
- decision: all cases; right when the whole decision is: the full call, the question with exactly the missing names,
  `none`, or `finish`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcp_dualtune.evaluation.cases import CONTAINS, Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.types import JSON

Z95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
BINS = 10
"""Equal-width confidence bins of the calibration error."""


@dataclass(frozen=True)
class Rate:
    """A share of right ones with its 95 % Wilson interval."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        """0..1, or None when nothing was counted."""
        return self.right / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper bound, or None when nothing was counted."""
        if not self.total:
            return None
        share, square = self.right / self.total, Z95 * Z95
        middle = share + square / (2 * self.total)
        spread = Z95 * math.sqrt(share * (1 - share) / self.total + square / (4 * self.total**2))
        scale = 1 + square / self.total
        return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)

    @property
    def percent(self) -> str:
        """Per cent with the interval: `87.6 (82 to 92)`."""
        low, high = self.interval or (0.0, 1.0)
        return f"{100 * (self.value or 0):.1f} ({100 * low:.0f} to {100 * high:.0f})"


@dataclass(frozen=True)
class Bin:
    """The decisions of about one confidence."""

    confidence: float
    """Their mean, 0..1."""
    right: Rate


@dataclass(frozen=True)
class Rates:
    """The four accuracies of a group of cases; the module's docstring says what each counts."""

    server: Rate
    tool: Rate
    full_call: Rate
    decision: Rate


@dataclass(frozen=True)
class Stages:
    """How good each stage is where the one before it was right, so that no stage pays for another's mistakes."""

    route: Rate
    select: Rate
    """Of the cases with the right server: those with the right tool."""
    arguments: Rate
    """Of the calls with the right tool: those that are right altogether."""


@dataclass(frozen=True)
class Score:
    """Everything a run came to."""

    rates: Rates
    by_kind: Mapping[str, Rates]
    by_server: Mapping[str, Rates]
    """By the expected answer's server; cases without one are not in it."""
    by_tool: Mapping[str, Rates]
    """By the expected answer's `server/tool`; cases without one are not in it."""
    stages: Stages
    ask_precision: Rate
    """Of the questions asked: those where a question was right, about exactly these values."""
    ask_recall: Rate
    """Of the cases where a value is missing: those answered so."""
    none_precision: Rate
    """Of the decisions `none`: those where nothing fits."""
    none_recall: Rate
    """Of the cases where nothing fits: those answered `none`."""
    false_none: Rate
    """Of the cases with a tool to choose: those answered `none`. Low is good."""
    bins: tuple[Bin, ...]
    """Confidence against the whole decision being right."""
    outcomes: Mapping[str, Mapping[str, int]]
    """Expected outcome -> decided outcome -> cases."""
    p50_ms: float
    p95_ms: float
    errors: tuple[Prediction, ...]
    wrong: tuple[str, ...]
    """Ids of the cases whose decision is wrong."""

    @property
    def calibration_error(self) -> float | None:
        """See `calibration_error`, 0..1."""
        return calibration_error(self.bins)


def score(cases: Sequence[Case], predictions: Sequence[Prediction]) -> Score:
    """Judge one prediction for each case.

    Raises:
        ValueError: predictions and cases do not have the same ids in the same order, or there are none.
    """
    if not cases or [case.id for case in cases] != [prediction.id for prediction in predictions]:
        raise ValueError("There must be one prediction for each case, in the same order.")
    pairs = list(zip(cases, predictions, strict=True))
    kinds, servers = _groups(pairs, lambda case: case.kind), _groups(pairs, lambda case: case.expected.server)
    tools = _groups(pairs, lambda case: f"{case.expected.server}/{case.expected.tool}" if _has_tool(case) else None)
    asked = [pair for pair in pairs if pair[1].outcome == "ask"]
    missing = [pair for pair in pairs if pair[0].expected.outcome == "ask"]
    nothing = [pair for pair in pairs if pair[1].outcome == "none"]
    strange = [pair for pair in pairs if pair[0].expected.outcome == "none"]
    choosing = [pair for pair in pairs if _has_tool(pair[0])]
    outcomes: dict[str, Counter[str]] = {}
    for case, prediction in pairs:
        outcomes.setdefault(case.expected.outcome, Counter())[prediction.outcome] += 1
    latencies = [prediction.ms for prediction in predictions]
    return Score(
        rates=_rates(pairs),
        by_kind={name: _rates(group) for name, group in kinds.items()},
        by_server={name: _rates(group) for name, group in servers.items()},
        by_tool={name: _rates(group) for name, group in tools.items()},
        stages=_stages(pairs),
        ask_precision=_rate(asked, is_right),
        ask_recall=_rate(missing, is_right),
        none_precision=_rate(nothing, is_right),
        none_recall=_rate(strange, is_right),
        false_none=_rate(choosing, lambda case, found: found.outcome == "none" and not is_right(case, found)),
        bins=reliability(pairs),
        outcomes=outcomes,
        p50_ms=percentile(latencies, 50),
        p95_ms=percentile(latencies, 95),
        errors=tuple(prediction for prediction in predictions if prediction.outcome == "error"),
        wrong=tuple(case.id for case, prediction in pairs if not is_right(case, prediction)),
    )


def is_right(case: Case, prediction: Prediction) -> bool:
    """Whether the whole decision is one of the right answers."""
    return any(_matches(answer, prediction, case.rules) for answer in case.answers)


def same_arguments(expected: Mapping[str, JSON], given: Mapping[str, JSON], rules: Mapping[str, str]) -> bool:
    """Whether `given` has the same names as `expected` and every value agrees under its rule."""
    if expected.keys() != given.keys():
        return False
    return all(same_value(value, given[name], rules.get(name, "")) for name, value in expected.items())


def same_value(expected: JSON, given: JSON, rule: str) -> bool:
    """Whether `given` agrees with `expected` under `rule`; without a rule they must be the same JSON value."""
    if rule == "any":
        return True
    if rule.startswith(CONTAINS):
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        return rule.removeprefix(CONTAINS).casefold() in text.casefold()
    if rule == "unordered" and isinstance(expected, list) and isinstance(given, list):
        left = list(given)
        for item in expected:
            index = next((place for place, other in enumerate(left) if _equal(item, other)), None)
            if index is None:
                return False
            del left[index]
        return not left
    if isinstance(expected, str) and isinstance(given, str):
        if rule == "ci":
            return expected.casefold() == given.casefold()
        if rule == "path":
            return _plain_path(expected) == _plain_path(given)
    # `number` needs nothing of its own: 5 and 5.0 are one JSON number.
    return _equal(expected, given)


def reliability(pairs: Iterable[tuple[Case, Prediction]]) -> tuple[Bin, ...]:
    """The bins of a reliability diagram, lowest confidence first; empty ones are left out."""
    return binned((one.confidence, is_right(case, one)) for case, one in pairs if one.confidence is not None)


def binned(said: Iterable[tuple[float, bool]]) -> tuple[Bin, ...]:
    """The same of (confidence, whether it was right)."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in said:
        bins.setdefault(min(int(sure * BINS), BINS - 1), []).append((sure, right))
    return tuple(
        Bin(sum(sure for sure, _ in group) / len(group), Rate(sum(right for _, right in group), len(group)))
        for _, group in sorted(bins.items())
    )


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean gap between confidence and share right, by cases."""
    total = sum(one.right.total for one in bins)
    return sum(abs(one.confidence * one.right.total - one.right.right) for one in bins) / total if total else None


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a value that occurred."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share / 100 * len(ordered)) - 1, 0)]


def _rates(pairs: Sequence[tuple[Case, Prediction]]) -> Rates:
    choosing = [pair for pair in pairs if _has_tool(pair[0])]
    calling = [pair for pair in pairs if _has_arguments(pair[0])]
    return Rates(
        _rate(choosing, _right_server), _rate(choosing, _right_tool), _rate(calling, is_right), _rate(pairs, is_right)
    )


def _stages(pairs: Sequence[tuple[Case, Prediction]]) -> Stages:
    choosing = [pair for pair in pairs if _has_tool(pair[0])]
    served = [pair for pair in choosing if _right_server(*pair)]
    chosen = [pair for pair in served if _has_arguments(pair[0]) and _right_tool(*pair)]
    return Stages(_rate(choosing, _right_server), _rate(served, _right_tool), _rate(chosen, is_right))


def _right_server(case: Case, prediction: Prediction) -> bool:
    known = {answer.server for answer in case.answers} - {None}
    return prediction.server in known or is_right(case, prediction)


def _right_tool(case: Case, prediction: Prediction) -> bool:
    known = {(answer.server, answer.tool) for answer in case.answers if answer.tool is not None}
    return (prediction.server, prediction.tool) in known or is_right(case, prediction)


def _rate(pairs: Sequence[tuple[Case, Prediction]], right: Callable[[Case, Prediction], bool]) -> Rate:
    return Rate(sum(right(case, prediction) for case, prediction in pairs), len(pairs))


def _groups(
    pairs: Sequence[tuple[Case, Prediction]], name: Callable[[Case], str | None]
) -> dict[str, list[tuple[Case, Prediction]]]:
    groups: dict[str, list[tuple[Case, Prediction]]] = {}
    for case, prediction in pairs:
        key = name(case)
        if key is not None:
            groups.setdefault(key, []).append((case, prediction))
    return groups


def _has_tool(case: Case) -> bool:
    return case.expected.outcome in ("call", "ask")


def _has_arguments(case: Case) -> bool:
    return case.expected.outcome == "call" and case.expected.arguments is not None


def _matches(answer: Answer, prediction: Prediction, rules: Mapping[str, str]) -> bool:
    if answer.outcome != prediction.outcome:
        return False
    if answer.outcome in ("none", "finish"):
        return True
    if (answer.server, answer.tool) != (prediction.server, prediction.tool):
        return False
    if answer.outcome == "ask":
        return answer.missing == set(prediction.missing)
    return answer.arguments is None or same_arguments(answer.arguments, prediction.arguments or {}, rules)


def _equal(one: JSON, other: JSON) -> bool:
    """Equal as JSON values: 5 and 5.0 are one number, true is none."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _plain_path(path: str) -> str:
    """The path without `./` steps and a trailing slash; a root stays one."""
    lead = path[:1] if path[:1] in "/\\" else ""
    parts = [part for part in path.replace("/./", "/").split("/") if part != "."]
    plain = "/".join(parts).rstrip("/\\")
    return plain or lead
