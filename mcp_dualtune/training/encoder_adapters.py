"""Trains the choosing adapters on the public encoder: `route` and `select`.

One wrapped model serves both; its LoRA matrices are reset between adapters.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import Manifest, Scores, TrainingData
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder, model_digest
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.choosing import Choosing, Group
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Trainer
from mcp_dualtune.training.lora import AdaptedModel, Job, Make, calibrate
from mcp_dualtune.training.sources import Corpus, split

RANK, ALPHA = 16, 32
MODULES = ("query", "key", "value", "dense")
BRANCHES = 24
"""Requests per list: embedding the list is the larger part of a step."""
LISTED_TOOLS = 5
"""Tools shown of each server when learning to route, the right one among them; serving shows all."""
HELD_OUT_GROUPS = 24
TUNED_SHARE = 0.6


class EncoderTrainer:
    """Trains adapters on one encoder and writes them to `output`."""

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        self.base, self.runs, self.output, self.device = base, runs, output, device
        self.digest = model_digest(base)
        tokenizer = AutoTokenizer.from_pretrained(base)
        renderer = Renderer.for_tokenizer(tokenizer)
        self.maker, self.judge = (
            ExampleMaker(
                renderer, CaseMaker(split(corpus, held_out=held_out)), branches=BRANCHES, listed_tools=LISTED_TOOLS
            )
            for held_out in (False, True)
        )
        model = AutoModel.from_pretrained(base, add_pooling_layer=False, dtype=torch.float32)
        self.adapted = AdaptedModel(model, MODULES, RANK, ALPHA, "sentence-transformers/all-MiniLM-L6-v2")
        self.objective = Choosing(self.adapted.model, int(tokenizer.cls_token_id))

    def train(self, job: Job, start: Path | None = None) -> Manifest | None:
        """Train one adapter from zero or from the adapter in `start`; None when it is there already."""
        target = self.output / job.name
        if (target / "manifest.json").exists():
            return None
        self.adapted.reset(start)
        held_out = {"tuned": self.held_out(job, tuned=True), "unseen": self.held_out(job, tuned=False)}
        self.adapted.model.eval()
        before = self.objective.measure(held_out["tuned"], job.plan.rows)
        trainer = Trainer(self.adapted.model, self.objective, job.plan, self.runs / job.name, device=self.device)
        self.adapted.model.train()

        def items(at: int) -> Iterator[Group]:
            return groups(self.make(job), job.name, at)

        after = trainer.run(items, held_out)["tuned"]
        manifest = Manifest(
            stage=job.stage, server=job.server, schema_fingerprint=job.fingerprint, base_digest=self.digest, rank=RANK,
            scores=Scores(round(before["answer"], 4), round(after["answer"], 4)), licence="Apache-2.0",
            data=_read(items(0), trainer.step * job.plan.rows),
        )  # fmt: skip
        self.adapted.save(target, manifest)
        return manifest

    def calibrate(self, job: Job) -> float:
        """Fit the temperature of a choosing adapter on held-out requests of tuned servers and on unseen servers."""
        engine = EncoderEngine(load_encoder(self.base))
        adapter = AdapterStore([self.output / job.name], engine.digest).best(job.stage)
        if adapter is None:
            raise ValueError(f"There is no adapter {job.name} in {self.output}.")
        kept = [*self.held_out(job, tuned=True), *self.held_out(job, tuned=False)]
        return calibrate(engine, adapter, [example for group in kept for example in group])

    def make(self, job: Job) -> Make:
        """What a job reads."""
        maker = self.maker
        general, tuned = maker.corpus.general, list(maker.corpus.tuned)

        def one(rng: random.Random) -> Any:
            own, roll = rng.random() < TUNED_SHARE, rng.random()
            if job.stage == "route":
                if not own and roll < 0.3:
                    return maker.route_catalogue(rng)
                return maker.route(rng, tuned if own else general, [*tuned, *general], none=0.18)
            if own:
                return maker.select(rng, tuned, rename=0.1, none=0.14)
            if roll < 0.2:
                return maker.select_catalogue(rng)
            return maker.select_public(rng) if roll < 0.35 else maker.select(rng, general, rename=0.4, none=0.1)

        return one

    def held_out(self, job: Job, *, tuned: bool) -> list[Group]:
        """Fixed groups for measuring: held-out requests of tuned servers, or servers that are never trained on."""
        maker = self.judge if tuned else self.maker
        servers = list(maker.corpus.tuned if tuned else maker.corpus.dev)
        pool = [*maker.corpus.tuned, *maker.corpus.general]

        def one(rng: random.Random) -> Any:
            if job.stage == "route":
                return maker.route(rng, servers, pool, none=0.12)
            return maker.select(rng, servers, rename=0.0, none=0.07)

        source = groups(one, f"judge/{job.name}/{tuned}", 0)
        return [next(source) for _ in range(HELD_OUT_GROUPS)]


def groups(make: Make, seed: str, start: int) -> Iterator[Group]:
    """Endless groups; group k depends on (seed, k) only, so the stream can start anywhere."""
    number = start
    while True:
        rng = random.Random(f"{seed}/{number}")
        group = make(rng)
        while not group:
            group = make(rng)
        yield group
        number += 1


def _read(source: Iterator[Group], count: int) -> TrainingData:
    """Digest and number of the examples in the first `count` groups: what a run of that length has read."""
    total, examples = hashlib.sha256(), 0
    for _, group in zip(range(count), source, strict=False):
        for example in group:
            total.update(repr(example).encode())
        examples += len(group)
    return TrainingData(total.hexdigest(), examples)
