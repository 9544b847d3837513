"""Trains the adapters that fill in arguments, generic ones and one for each tool, on the embedded decoder.

One wrapped model serves every adapter: its LoRA matrices are reset between adapters, so the compiled body is reused.
An adapter for one tool starts from the generic one and is left out if it is worse on held-out requests.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import Manifest, Scores, TrainingData
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Trainer, Writing
from mcp_dualtune.training.lora import AdaptedModel, Job, Make
from mcp_dualtune.training.packing import Row, stream
from mcp_dualtune.training.sources import Corpus, split

ROW_LENGTH = 512
RANK, ALPHA = 8, 16
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HELD_OUT_ROWS = 12
TUNED_SHARE = 0.65
"""Share of groups on tuned servers; the rest keeps unseen servers working."""


class AdapterTrainer:
    """Trains adapters on one base model and writes them to `output`."""

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        self.base, self.runs, self.output, self.device = base, runs, output, device
        self.digest = model_digest(base)
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        renderer = Renderer.for_tokenizer(self.tokenizer)
        self.maker = ExampleMaker(renderer, CaseMaker(split(corpus, held_out=False)))
        self.judge = ExampleMaker(renderer, CaseMaker(split(corpus, held_out=True)))
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self.adapted = AdaptedModel(model, MODULES, RANK, ALPHA, "mcp-dualtune/nano")
        self.objective = Writing(model, torch.compile(model.model), device)

    def train(self, job: Job, start: Path | None = None) -> Manifest | None:
        """Train one adapter from zero or from the adapter in `start`; None when it did not help and was left out."""
        target = self.output / job.name
        if (target / "manifest.json").exists():
            return None
        self.adapted.reset(start)
        held_out = self.rows(self.judge, job, f"judge/{job.name}", HELD_OUT_ROWS)
        before = self.objective.measure(held_out, job.plan.rows)
        trainer = Trainer(self.adapted.model, self.objective, job.plan, self.runs / job.name, device=self.device)

        def items(at: int) -> Iterator[Row]:
            return stream(self.make(self.maker, job), job.name, at, ROW_LENGTH, self.tokenizer.pad_token_id, 0.0)

        after = trainer.run(items, {"split": held_out})["split"]
        if start is not None and after["answer"] < before["answer"]:
            return None
        manifest = Manifest(
            stage=job.stage, server=job.server, tool=job.tool, schema_fingerprint=job.fingerprint,
            base_digest=self.digest, rank=RANK, scores=Scores(round(before["answer"], 4), round(after["answer"], 4)),
            licence="Apache-2.0", data=_read(items(0), trainer.step * job.plan.rows),
        )  # fmt: skip
        self.adapted.save(target, manifest)
        return manifest

    def make(self, maker: ExampleMaker, job: Job) -> Make:
        """What a job reads."""
        general, tuned = maker.corpus.general, list(maker.corpus.tuned)

        def one(rng: random.Random) -> Any:
            if job.tool is not None:
                return maker.arguments(rng, [str(job.server)], rename=0.0, tool=job.tool)
            if rng.random() < TUNED_SHARE:
                return maker.arguments(rng, tuned, rename=0.1)
            return maker.arguments_drill(rng) if rng.random() < 0.3 else maker.arguments(rng, general, rename=0.3)

        return one

    def rows(self, maker: ExampleMaker, job: Job, seed: str, count: int) -> Sequence[Row]:
        """Fixed rows of a job, for measuring."""
        source = stream(self.make(maker, job), seed, 0, ROW_LENGTH, self.tokenizer.pad_token_id, 0.0, chunk=count)
        return [next(source) for _ in range(count)]


def _read(rows: Iterator[Row], count: int) -> TrainingData:
    """Digest and number of the examples in the first `count` rows: what a run of that length has read."""
    total, examples = hashlib.sha256(), 0
    for _, row in zip(range(count), rows, strict=False):
        total.update(row.tokens.tobytes())
        examples += len(np.unique(row.segment[row.segment != row.root]))
    return TrainingData(total.hexdigest(), examples)
