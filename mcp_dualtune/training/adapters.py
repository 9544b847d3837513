"""Trains LoRA adapters: what all stages have in common, and the adapters that write arguments on the decoder.

One wrapped model serves every adapter of a trainer: its LoRA matrices are reset between adapters. An adapter that
starts from another one, or comes on top of one, is left out unless it is better on held-out requests.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import FILE_NAME, Manifest, Scores, TrainingData
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Objective, Trainer, Writing
from mcp_dualtune.training.lora import AdaptedModel, Job, Make
from mcp_dualtune.training.packing import Row, stream
from mcp_dualtune.training.sources import Corpus, split
from mcp_dualtune.types import AdapterRef

ROW_LENGTH = 512
RANK, ALPHA = 8, 16
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HELD_OUT_ROWS = 12
GOOD = 0.97
"""Share of right answers from which on nothing is trained on top of an adapter."""
TUNED_SHARE = 0.65
"""Share of groups on tuned servers; the rest keeps unseen servers working."""


class AdapterTrainer(ABC):
    """Trains adapters on one base model and writes them to `output`."""

    adapted: AdaptedModel
    objective: Objective
    below: AdapterRef | None = None
    """The adapter that these are trained on top of."""

    def __init__(self, base: Path, runs: Path, output: Path, device: torch.device) -> None:
        self.base, self.runs, self.output, self.device = base, runs, output, device
        self.digest = model_digest(base)

    @abstractmethod
    def items(self, job: Job, at: int) -> Iterator[Any]:
        """What the job reads, endless, from item `at` on."""

    @abstractmethod
    def held_out(self, job: Job) -> Mapping[str, Sequence[Any]]:
        """What it is measured on, by name; the first is what the manifest tells."""

    @abstractmethod
    def taught(self, item: Any) -> tuple[bytes, int]:
        """(what tells the item from others, the number of examples in it)."""

    def train(self, job: Job, start: Path | None = None) -> Manifest | None:
        """Train one adapter from zero or from the adapter in `start`; None when it is there or did not help."""
        target = self.output / job.folder
        if (target / FILE_NAME).exists():
            return None
        self.adapted.reset(start)
        model, kept = self.adapted.model, self.held_out(job)
        own = next(iter(kept))
        model.eval()
        before = self.objective.measure(kept[own], job.plan.rows)
        if self.below is not None and before["answer"] >= GOOD:
            return None
        model.train()
        trainer = Trainer(model, self.objective, job.plan, self.runs / job.folder, device=self.device)
        after = trainer.run(lambda at: self.items(job, at), kept)[own]
        other = start is not None or self.below is not None
        if other and after["answer"] <= before["answer"]:
            return None
        manifest = Manifest(
            stage=job.stage, server=job.server, tool=job.tool, schema_fingerprint=job.fingerprint,
            base_digest=self.digest, rank=self.adapted.rank, licence="Apache-2.0",
            scores=Scores(round(before["answer"], 4), round(after["answer"], 4)),
            data=self._read(job, trainer.step * job.plan.rows),
            stacked_on=self.below.content if self.below else None,
            temperature=self.below.temperature if self.below else 1.0,
        )  # fmt: skip
        self.adapted.save(target, manifest)
        return manifest

    def _read(self, job: Job, count: int) -> TrainingData:
        """Digest and number of the examples in the first `count` items: what a run of that length has read."""
        total, examples = hashlib.sha256(), 0
        for _, item in zip(range(count), self.items(job, 0), strict=False):
            content, number = self.taught(item)
            total.update(content)
            examples += number
        return TrainingData(total.hexdigest(), examples)


class WritingTrainer(AdapterTrainer):
    """Adapters of the decoder, generic or for one tool."""

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        super().__init__(base, runs, output, device)
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        renderer = Renderer.for_tokenizer(self.tokenizer)
        self.maker, self.judge = makers(renderer, corpus)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self.adapted = AdaptedModel(model, MODULES, RANK, ALPHA, "mcp-dualtune/nano")
        self.objective = Writing(model, torch.compile(model.model), device)

    def items(self, job: Job, at: int) -> Iterator[Row]:
        """Packed rows."""
        make = argument_groups(self.maker, job)
        return stream(make, job.name, at, ROW_LENGTH, self.tokenizer.pad_token_id, 0.0)

    def held_out(self, job: Job) -> Mapping[str, Sequence[Row]]:
        """Rows of held-out requests."""
        make, pad = argument_groups(self.judge, job), self.tokenizer.pad_token_id
        source = stream(make, f"judge/{job.name}", 0, ROW_LENGTH, pad, 0.0, chunk=HELD_OUT_ROWS)
        return {"split": [next(source) for _ in range(HELD_OUT_ROWS)]}

    def taught(self, item: Row) -> tuple[bytes, int]:
        """A row has a segment for each example."""
        return item.tokens.tobytes(), len(np.unique(item.segment[item.segment != item.root]))


def makers(renderer: Renderer, corpus: Corpus, **settings: Any) -> tuple[ExampleMaker, ExampleMaker]:
    """One that draws from the training requests, and one that draws from the held-out ones."""
    training, held_out = (CaseMaker(split(corpus, held_out=kept)) for kept in (False, True))
    return ExampleMaker(renderer, training, **settings), ExampleMaker(renderer, held_out, **settings)


def argument_groups(maker: ExampleMaker, job: Job) -> Make:
    """What an adapter for arguments learns from."""
    general, tuned = maker.corpus.general, list(maker.corpus.tuned)

    def one(rng: random.Random) -> Any:
        if job.tool is not None:
            return maker.arguments(rng, [str(job.server)], rename=0.0, tool=job.tool)
        if rng.random() < TUNED_SHARE:
            return maker.arguments(rng, tuned, rename=0.1)
        return maker.arguments_drill(rng) if rng.random() < 0.3 else maker.arguments(rng, general, rename=0.3)

    return one
