"""Runs the cases of a suite through the deciding half of the gateway: catalog, stages, adapters, no servers.

Owns how a case becomes a request and a decision a prediction. Refuses to judge: that is `score`. It adds no ambient
facts of its own (no date, no folder): a score must not depend on the day or the place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Literal

from mcp_dualtune.agent.history import bounded
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import Config
from mcp_dualtune.errors import CatalogError, EngineError, ModelLoadError
from mcp_dualtune.evaluation.cases import Case
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import JSON, Decision, HistoryItem, Outcome, Request, ServerSpec


@dataclass(frozen=True)
class Prediction:
    """What was decided for one case; `to_json` is a line of the predictions file."""

    id: str
    outcome: Outcome | Literal["error"]
    """`error`: the stages gave no decision; it counts as wrong."""
    server: str | None = None
    tool: str | None = None
    arguments: Mapping[str, JSON] | None = None
    missing: tuple[str, ...] = ()
    confidence: float | None = None
    ms: float = 0.0
    error: str | None = None
    speakers: tuple[str, ...] = ()
    """The adapter of each stage that a model was needed for, `base` for none; not in the line."""

    def to_json(self) -> dict[str, JSON]:
        """The line for other programs; `error` is only there when there is one."""
        line: dict[str, JSON] = {
            "id": self.id,
            "outcome": self.outcome,
            "server": self.server,
            "tool": self.tool,
            "arguments": dict(self.arguments or {}),
            "missing": list(self.missing),
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "ms": round(self.ms, 2),
        }
        return line if self.error is None else {**line, "error": self.error}


@dataclass(frozen=True)
class Decider:
    """The deciding half of the gateway: the pipeline with its models, in the caller's own thread."""

    pipeline: Pipeline
    load_seconds: float = 0.0

    @classmethod
    def load(cls, config: Config) -> Decider:
        """Load the configured models and their adapters, as the gateway does; blocks for as long as that takes.

        Raises:
            ModelLoadError, AdapterError: a model or an adapter folder cannot be used.
        """
        started = perf_counter()
        pipeline = load_pipeline(config.settings)
        return cls(pipeline, perf_counter() - started)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that may speak."""
        seats = dict.fromkeys((self.pipeline.choosing, self.pipeline.filling))
        return tuple(stored.ref.name for seat in seats for stored in seat.adapters.adapters)

    def decide(self, request: Request, catalog: Catalog) -> Decision:
        """One decision.

        Raises:
            DualTuneError: as `Pipeline.decide`.
        """
        return self.pipeline.decide(request, catalog, Event())


def configured(catalog: Catalog, config: Config) -> Catalog:
    """`catalog` under what the config says of its servers: fixed arguments, context, description, allowed tools.

    Raises:
        CatalogError: the config leaves a server no tool at all.
    """
    options = {server.name: server.options for server in config.servers}
    servers = []
    for spec in catalog.servers:
        if spec.name not in options:
            servers.append(spec)
            continue
        own = options[spec.name]
        built = build_server(
            spec.name,
            own.description or spec.description,
            list(_wire(spec)),
            fixed_arguments=own.arguments,
            context=own.context,
            allow=own.allow,
            deny=own.deny,
        )
        if not built.spec.tools:
            hint = f"Correct dualtune.servers.{spec.name}.allow or .deny in the config."
            raise CatalogError(f"The config leaves no tool of {spec.name!r}.", hint=hint)
        servers.append(built.spec)
    return Catalog(tuple(servers))


def run_cases(decider: Decider, cases: Iterable[Case], catalog: Catalog, config: Config) -> Iterator[Prediction]:
    """Decide case by case, each in the state the earlier ones leave the caches in, as in serving.

    What the user has said of the very requests of these cases is not looked at.

    Raises:
        ModelLoadError, AdapterError, ConfigError: nothing can be decided at all. What the model cannot do for one
            request is that case's prediction instead.
    """
    cases = tuple(cases)
    for seat in (decider.pipeline.routing, decider.pipeline.choosing):
        seat.exemplars.leave_out(case.query for case in cases)
    for case in cases:
        request = as_request(case, config)
        started = perf_counter()
        try:
            decision = decider.decide(request, catalog)
        except ModelLoadError:
            raise
        except EngineError as error:
            yield Prediction(case.id, "error", ms=(perf_counter() - started) * 1000, error=str(error))
        else:
            yield _prediction(case.id, decision)


def write_predictions(
    predictions: Iterable[Prediction], path: Path | None, seen: Callable[[Prediction], None] = lambda prediction: None
) -> tuple[Prediction, ...]:
    """Take the predictions as they come, write each as a line of `path` at once, and give them all.

    Raises:
        OSError: `path` cannot be written; known before the first case runs.
    """
    taken = []
    file = path.open("w", encoding="utf-8") if path else None
    try:
        for prediction in predictions:
            if file is not None:
                file.write(json.dumps(prediction.to_json(), ensure_ascii=False) + "\n")
                file.flush()
            taken.append(prediction)
            seen(prediction)
    finally:
        if file is not None:
            file.close()
    return tuple(taken)


def as_request(case: Case, config: Config) -> Request:
    """The request of a case: results of earlier calls are bounded as the agent bounds them."""
    limit = config.settings.limits.result_chars
    history = tuple(HistoryItem(item.call, bounded(item.result, limit)) for item in case.history)
    return Request(case.query, history, dict(config.settings.context), case.servers)


def _prediction(name: str, decision: Decision) -> Prediction:
    return Prediction(
        name,
        decision.outcome,
        decision.server,
        decision.tool,
        decision.arguments,
        decision.missing,
        decision.confidence,
        decision.ms,
        speakers=tuple(stage.adapter for stage in decision.stages if stage.adapter != "-"),
    )


def _wire(server: ServerSpec) -> Iterator[JSON]:
    """The server's tools as it would list them, to build its record anew."""
    for tool in server.tools:
        yield {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            "outputSchema": tool.output_schema,
            "annotations": tool.annotations,
        }
