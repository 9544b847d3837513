"""Makes the confidence of whole decisions true: one temperature for all that is read, fitted on everyday requests.

The stages are calibrated one by one before; their product is too sure or too doubtful all the same, because they err on
the same requests. Owns the fit. What is decided belongs to the pipeline.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from mcp_dualtune.adapter_registry.manifest import adapters_in, load_manifest, save_manifest
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.config import ThresholdSettings
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_encoder, load_model
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.training.lora import TEMPERATURES
from mcp_dualtune.training.records import Case
from mcp_dualtune.training.sources import Corpus, calibration_cases, unseen_cases
from mcp_dualtune.types import Decision, Request, ServerSpec, canonical

OFFERED = 8
"""Servers beside each other for requests to servers never seen."""
FEWEST_TOOLS = 4
"""Of a server that stands beside the right one."""


@dataclass(frozen=True)
class Judged:
    """One decision: how sure of server and tool, how sure of the arguments, and whether all of it was right."""

    choice: float
    arguments: float
    right: bool

    def confidence(self, temperature: float) -> float:
        """Of the whole, with another temperature for the arguments."""
        return min(max(self.choice * self.arguments ** (1.0 / temperature), 1e-4), 1 - 1e-4)


def assembled(decoder: Path, encoder: Path, thresholds: ThresholdSettings | None = None) -> Pipeline:
    """The models of two folders with the adapters that lie beside the decoder, as they are served."""
    writes = HFEngine(load_model(decoder, "int8"))
    reads = EncoderEngine(load_encoder(encoder, "int8"))
    adapters = AdapterStore([decoder], reads.digest, (writes.digest,))
    reader = Reader(reads, ReadingTemplate(reads.tokenizer), adapters)
    own = AdapterStore([decoder], writes.digest, (reads.digest,))
    return Pipeline(Seat.of(writes, own), Seat.of(reads, adapters), thresholds, reader)


def everyday(corpus: Corpus, seed: str) -> Iterator[tuple[Case, Catalog]]:
    """The calibration requests among the tuned servers, and those to servers never trained on among eight of them."""
    tuned = Catalog(tuple(corpus.servers[name] for name in corpus.tuned))
    yield from ((case, tuned) for case in calibration_cases(corpus))
    rng = random.Random(seed)
    for case in unseen_cases(corpus):
        shown = beside(case.server, corpus, rng)
        if shown:  # the corpus may have none of them
            yield case, Catalog(tuple(shown))


def beside(server: ServerSpec, corpus: Corpus, rng: random.Random) -> list[ServerSpec]:
    """A server that is never trained on (or nobody) among seven other such ones."""
    others = [name for name in corpus.dev if name != server.name and len(corpus.servers[name].tools) >= FEWEST_TOOLS]
    shown = [corpus.servers[name] for name in rng.sample(others, min(OFFERED - 1, len(others)))]
    return [*shown, server] if server.name else shown


def judge(pipeline: Pipeline, asked: Iterator[tuple[Case, Catalog]]) -> list[Judged]:
    """Decide every request."""
    judged = []
    for case, catalog in asked:
        made = pipeline.decide(Request(case.query), catalog, Event())
        last = made.stages[-1]
        read = last.probability if last.stage == "arguments" and last.probability > 0 else 1.0
        judged.append(Judged(made.confidence / read, read, is_right(made, case)))
    return judged


def is_right(made: Decision, case: Case) -> bool:
    """Whether a decision is the one that a case asks for."""
    if not case.server.name:
        return made.outcome == "none"
    if (made.server, made.tool) != (case.server.name, case.tool):
        return False
    if case.missing:
        return made.outcome == "ask" and set(made.missing) == set(case.missing)
    return made.outcome == "call" and canonical(dict(made.arguments)) == canonical(dict(case.arguments or {}))


def fit(judged: Sequence[Judged]) -> float:
    """The temperature of the arguments under which the confidence says best what was right."""

    def loss(temperature: float) -> float:
        chances = [(one.confidence(temperature), one.right) for one in judged]
        return -sum(math.log(chance if right else 1.0 - chance) for chance, right in chances)

    return min(TEMPERATURES, key=loss)


def apply(folder: Path, factor: float) -> None:
    """Multiply the temperatures of all reading adapters below `folder`."""
    for path in adapters_in(folder):
        manifest = load_manifest(path)
        save_manifest(replace(manifest, temperature=round(manifest.temperature * factor, 3)), path)
