"""How a user's own servers are served: all that a report says, gathered from several ways to decide the same cases.

Owns the record of a report, its JSON and its counting of tokens and confusions. Refuses to own: running (`ways`) and
how it looks (`page`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.report import rate_json, rates_json
from mcp_dualtune.evaluation.score import Score, is_right
from mcp_dualtune.evaluation.ways import Way
from mcp_dualtune.types import JSON

CONFUSIONS = 15


@dataclass(frozen=True)
class Confusion:
    """What was decided instead of what was right, how often, and one request where it happened."""

    expected: str
    decided: str
    count: int
    example: str


@dataclass(frozen=True)
class Tokens:
    """What tool definitions cost a client that sends them with every request, by one tokenizer."""

    tokenizer: str
    by_server: Mapping[str, int]
    own: int
    """Of our own three tools, which a client gets instead."""

    @property
    def all(self) -> int:
        """Of all tools of all servers."""
        return sum(self.by_server.values())

    @property
    def saved(self) -> int:
        """Fewer tokens in every request; negative where few and small tools cost less than ours."""
        return self.all - self.own


@dataclass(frozen=True)
class Standing:
    """Everything that a report says."""

    source: str
    """The config or catalog file."""
    at: str
    seed: int
    servers: Mapping[str, int]
    """By server, its tools."""
    kinds: Mapping[str, int]
    """By kind, the requests."""
    ways: tuple[Way, ...]
    """What is in use first."""
    tokens: Tokens
    model: str
    model_digest: str
    load_seconds: float
    peak_megabytes: float | None
    """When what is in use had decided everything, and nothing else had run yet."""
    seconds: float
    """For all of the report."""
    unasked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By server, the tools that could not be asked for and why."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Servers of the config that gave no tools, and why."""

    @property
    def in_use(self) -> Way:
        """The way that serves requests now."""
        return self.ways[0]

    @property
    def score(self) -> Score:
        """How what is in use did."""
        found = self.in_use.score
        assert found is not None, "what is in use decides one request at least"
        return found

    @property
    def speakers(self) -> Mapping[str, int]:
        """By adapter (`base` for none), the decisions that it had a part in."""
        said = (speaker for found in self.in_use.predictions for speaker in set(_named(found.speakers)))
        return dict(Counter(said).most_common())

    @property
    def confusions(self) -> tuple[Confusion, ...]:
        """The commonest mistakes of what is in use."""
        pairs = zip(self.in_use.cases, self.in_use.predictions, strict=True)
        wrong = [(case, found) for case, found in pairs if not is_right(case, found)]
        counted = Counter((_answer(case.expected), _decided(case, found)) for case, found in wrong)
        examples: dict[tuple[str, str], str] = {}
        for case, found in wrong:
            examples.setdefault((_answer(case.expected), _decided(case, found)), case.query)
        ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Confusion(*pair, count, examples[pair]) for pair, count in ordered[:CONFUSIONS])

    def to_json(self) -> dict[str, JSON]:
        """All of it for a program; shares 0..1, times in milliseconds, memory in megabytes."""
        score = self.score
        return {
            "source": self.source,
            "at": self.at,
            "seed": self.seed,
            "servers": dict(self.servers),
            "unavailable": dict(self.unavailable),
            "requests": dict(self.kinds),
            "model": self.model,
            "model_digest": self.model_digest,
            "ways": [_way_json(way) for way in self.ways],
            "stages": {
                "route": rate_json(score.stages.route),
                "select": rate_json(score.stages.select),
                "arguments": rate_json(score.stages.arguments),
            },
            "by_kind": {name: rates_json(rates) for name, rates in score.by_kind.items()},
            "by_server": {name: rates_json(rates) for name, rates in score.by_server.items()},
            "by_tool": {name: rates_json(rates) for name, rates in score.by_tool.items()},
            "confusions": [vars(one) for one in self.confusions],
            "calibration_error": None if score.calibration_error is None else round(score.calibration_error, 4),
            "reliability": [
                {"confidence": round(one.confidence, 4), "right": rate_json(one.right)} for one in score.bins
            ],
            "adapters": dict(self.speakers),
            "unasked": {name: dict(tools) for name, tools in self.unasked.items()},
            "tokens": {
                "tokenizer": self.tokens.tokenizer,
                "all_tools": self.tokens.all,
                "own_tools": self.tokens.own,
                "saved": self.tokens.saved,
                "by_server": dict(self.tokens.by_server),
            },
            "load_seconds": round(self.load_seconds, 2),
            "peak_memory_mb": None if self.peak_megabytes is None else round(self.peak_megabytes, 1),
            "seconds": round(self.seconds, 1),
        }


def count_tokens(tokenizer: Any, name: str, catalog: Catalog, own: Iterable[JSON]) -> Tokens:
    """Count what a client sends its model for the tools of `catalog`, and what it sends for our `own` (wire spelling).

    Counted are name, description and input schema, as JSON without spaces.
    """

    def cost(tools: Sequence[tuple[str, str, JSON]]) -> int:
        listed = [{"name": name, "description": about, "inputSchema": schema} for name, about, schema in tools]
        text = json.dumps(listed, ensure_ascii=False, separators=(",", ":"), default=dict)
        return len(tokenizer.encode(text, add_special_tokens=False, verbose=False))

    by_server = {
        server.name: cost([(tool.name, tool.description, tool.input_schema) for tool in server.tools])
        for server in catalog.servers
    }
    return Tokens(name, by_server, cost([(tool["name"], tool["description"], tool["inputSchema"]) for tool in own]))


def _way_json(way: Way) -> dict[str, JSON]:
    found = way.score
    about: dict[str, JSON] = {"way": way.key, "about": way.about, "cases": len(way.cases), "note": way.note}
    if found is None:
        return about
    return {
        **about,
        "accuracy": rates_json(found.rates),
        "latency_ms": {"p50": round(found.p50_ms, 2), "p95": round(found.p95_ms, 2)},
        "errors": len(found.errors),
    }


def _named(speakers: Iterable[str]) -> Iterable[str]:
    """`arguments (reading) + arguments` are two that speak."""
    return (part for speaker in speakers for part in speaker.split(" + "))


def _answer(answer: Answer) -> str:
    words = {"none": "nothing fits", "finish": "finished"}
    if answer.outcome in words:
        return words[answer.outcome]
    target = f"{answer.server}/{answer.tool}"
    return target if answer.outcome == "call" else f"{target}: ask for {', '.join(sorted(answer.missing))}"


def _decided(case: Case, found: Prediction) -> str:
    if found.outcome == "error":
        return "no answer"
    if found.outcome in ("call", "ask"):
        target = f"{found.server}/{found.tool}"
        same = (found.server, found.tool) == (case.expected.server, case.expected.tool)
        if found.outcome == "ask":
            return f"{target}: asked for {', '.join(found.missing)}"
        return f"{target}, other arguments" if same and case.expected.outcome == "call" else target
    return "nothing fits" if found.outcome == "none" else "finished"
