"""What an evaluation came to: tables for people, one JSON document for machines.

Owns the keys and the wording of the report, and the memory measure. Refuses to compute scores.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_dualtune.evaluation.score import Rate, Rates, Score
from mcp_dualtune.types import JSON

OUTCOMES = ("call", "ask", "none", "finish", "error")
WRONG_SHOWN = 12
"""Ids of wrong cases on the screen; the JSON has all."""

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Titles and rows of a table."""


@dataclass(frozen=True)
class Setting:
    """What was measured, so that a number can be repeated."""

    suite: str
    catalog: Path
    cases: int
    model: str
    model_digest: str
    adapters: tuple[str, ...]
    """Names of the adapters that were ready to speak."""
    config: Path | None
    load_seconds: float
    peak_megabytes: float | None
    """Largest resident memory of the process; None where the system does not tell."""


def peak_megabytes() -> float | None:
    """Largest resident memory of this process so far in megabytes (2**20 bytes), or None on Windows."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others kilobytes.
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def to_json(score: Score, setting: Setting) -> dict[str, JSON]:
    """The whole report for a program; shares 0..1, times in milliseconds, memory in megabytes."""
    return {
        "suite": setting.suite,
        "catalog": str(setting.catalog),
        "cases": setting.cases,
        "model": setting.model,
        "model_digest": setting.model_digest,
        "adapters": list(setting.adapters),
        "config": None if setting.config is None else str(setting.config),
        "accuracy": rates_json(score.rates),
        "by_kind": {name: rates_json(rates) for name, rates in score.by_kind.items()},
        "by_server": {name: rates_json(rates) for name, rates in score.by_server.items()},
        "ask": {"precision": rate_json(score.ask_precision), "recall": rate_json(score.ask_recall)},
        "none": {
            "precision": rate_json(score.none_precision),
            "recall": rate_json(score.none_recall),
            "false_rate": rate_json(score.false_none),
        },
        "outcomes": {expected: dict(found) for expected, found in score.outcomes.items()},
        "calibration_error": _rounded(score.calibration_error),
        "reliability": [{"confidence": _rounded(one.confidence), "right": rate_json(one.right)} for one in score.bins],
        "latency_ms": {"p50": round(score.p50_ms, 2), "p95": round(score.p95_ms, 2)},
        "load_seconds": round(setting.load_seconds, 3),
        "peak_memory_mb": None if setting.peak_megabytes is None else round(setting.peak_megabytes, 1),
        "errors": [{"id": one.id, "error": one.error} for one in score.errors],
        "wrong": list(score.wrong),
    }


def accuracy_rows(rates: Rates) -> Rows:
    """The four accuracies of the whole run."""
    named = (
        ("server", rates.server),
        ("tool", rates.tool),
        ("full call", rates.full_call),
        ("whole decision", rates.decision),
    )
    return ("accuracy", "right", "95 % interval", "cases"), [(name, *_cells(rate)) for name, rate in named]


def group_rows(title: str, groups: Mapping[str, Rates]) -> Rows:
    """The four accuracies of each group, without intervals."""
    rows = []
    for name, rates in groups.items():
        shares = (rates.server, rates.tool, rates.full_call, rates.decision)
        rows.append((name, *(_percent(rate.value) for rate in shares), str(rates.decision.total)))
    return (title, "server", "tool", "full call", "decision", "cases"), rows


def refusal_rows(score: Score) -> Rows:
    """How questions and `none` fare."""
    named = (
        ("questions that were right", score.ask_precision),
        ("missing values asked for", score.ask_recall),
        ("`none` that was right", score.none_precision),
        ("strange requests turned away", score.none_recall),
        ("false `none` (low is good)", score.false_none),
    )
    return ("asking and refusing", "share", "95 % interval", "cases"), [(name, *_cells(rate)) for name, rate in named]


def reliability_rows(score: Score) -> Rows:
    """Confidence against what was right."""
    rows = [(f"{100 * one.confidence:.0f} %", *_cells(one.right)) for one in score.bins]
    return ("confidence, mean", "right", "95 % interval", "cases"), rows


def outcome_rows(score: Score) -> Rows:
    """Expected against decided outcomes."""
    rows = [(expected, *(str(found.get(name, 0)) for name in OUTCOMES)) for expected, found in score.outcomes.items()]
    return ("expected, decided:", *OUTCOMES), rows


def lines(score: Score, setting: Setting) -> list[str]:
    """What stands around the tables: what was measured, and the single numbers."""
    adapters = ", ".join(setting.adapters) if len(setting.adapters) <= 6 else f"{len(setting.adapters)} adapters"
    found = [
        f"{setting.suite}: {setting.cases} cases on {setting.catalog.name}, model {setting.model} "
        f"({setting.model_digest[:12]}), {adapters or 'no adapters'}",
        f"config: {setting.config or 'none'}",
        "calibration error: " + ("-" if score.calibration_error is None else f"{score.calibration_error:.3f}"),
        f"latency: p50 {score.p50_ms:.0f} ms, p95 {score.p95_ms:.0f} ms; model loaded in {setting.load_seconds:.1f} s",
    ]
    if setting.peak_megabytes is not None:
        found.append(f"peak memory: {setting.peak_megabytes:.0f} MB")
    if score.wrong:
        more = len(score.wrong) - WRONG_SHOWN
        found.append("wrong: " + ", ".join(score.wrong[:WRONG_SHOWN]) + (f" and {more} more" if more > 0 else ""))
    found += [f"error in {one.id}: {one.error}" for one in score.errors[:WRONG_SHOWN]]
    return found


def rates_json(rates: Rates) -> dict[str, JSON]:
    """The four accuracies of a group."""
    return {
        "server": rate_json(rates.server),
        "tool": rate_json(rates.tool),
        "full_call": rate_json(rates.full_call),
        "decision": rate_json(rates.decision),
    }


def rate_json(rate: Rate) -> dict[str, JSON]:
    """One share with its interval."""
    interval = rate.interval
    bounds = None if interval is None else [round(bound, 4) for bound in interval]
    return {"value": _rounded(rate.value), "interval": bounds, "right": rate.right, "total": rate.total}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _cells(rate: Rate) -> tuple[str, str, str]:
    interval = rate.interval
    bounds = "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
    return _percent(rate.value), bounds, f"{rate.right}/{rate.total}"
