"""Trains and saves LoRA adapters for the stages, all from the same cases under separate answers.

One wrapped model serves every adapter: its LoRA matrices are reset between adapters, so the compiled body is reused.
An adapter for one tool starts from the generic `arguments` adapter and is left out if it is worse on held-out
requests.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import Manifest, Scores, TrainingData, load_manifest, save_manifest
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import RankRequest
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model, model_digest
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Plan, Trainer, measure
from mcp_dualtune.training.packing import Row, stream
from mcp_dualtune.training.records import Entry, bucket
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.types import Stage

ROW_LENGTH = 768
RANK, ALPHA = 16, 32
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
HELD_OUT_ROWS = 8
CALIBRATION_GROUPS = 60
SPLIT = 9
"""One request in this many is held out of adapter training."""
TUNED_SHARE = 0.65
"""Share of groups on tuned servers; the rest keeps unseen servers working."""

Make = Callable[..., Any]


@dataclass(frozen=True)
class Job:
    """One adapter to train."""

    stage: Stage
    plan: Plan
    server: str | None = None
    tool: str | None = None
    fingerprint: str | None = None

    @property
    def name(self) -> str:
        """`route`, `arguments/filesystem/move_file`."""
        return "/".join(part for part in (self.stage, self.server, self.tool) if part)


def split(corpus: Corpus, *, held_out: bool) -> Corpus:
    """The corpus with only the training requests of every tool, or only the held-out ones."""

    def part(entry: Entry) -> Entry:
        chosen = tuple(r for r in entry.requests if (bucket(r.text, SPLIT) == 0) == held_out)
        missing = tuple(m for m in entry.missing if (bucket(m[0].text, SPLIT) == 0) == held_out)
        return replace(entry, requests=chosen or entry.requests, missing=missing)

    chains = {
        name: [c for c in chains if (bucket(c.text, SPLIT) == 0) == held_out] for name, chains in corpus.chains.items()
    }
    entries = {name: [part(entry) for entry in entries] for name, entries in corpus.entries.items()}
    return replace(corpus, entries=entries, chains=chains)


class AdapterTrainer:
    """Trains adapters on one base model and writes them to `output`."""

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        self.base, self.runs, self.output, self.device = base, runs, output, device
        self.digest = model_digest(base)
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        renderer = Renderer.for_tokenizer(self.tokenizer)
        self.maker = ExampleMaker(renderer, CaseMaker(split(corpus, held_out=False)))
        self.judge = ExampleMaker(renderer, CaseMaker(split(corpus, held_out=True)))
        self.corpus = corpus
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        torch.manual_seed(0)
        self.model: Any = get_peft_model(
            model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
        )
        # PEFT would write the folder of this machine; the manifest's digest is what binds an adapter to its base.
        self.model.peft_config["default"].base_model_name_or_path = "mcp-dualtune/nano"
        self.start = self._weights()
        self.body = torch.compile(self.model.get_base_model().model)

    def train(self, job: Job, start: Path | None = None) -> Manifest | None:
        """Train one adapter from zero or from the adapter in `start`; None when it did not help and was left out."""
        target = self.output / job.name
        if (target / "manifest.json").exists():
            return None
        self._reset(start)
        held_out = self.rows(self.judge, job, f"judge/{job.name}", HELD_OUT_ROWS)
        before = measure(self.model.get_base_model(), self.body, held_out, job.plan.rows, self.device)
        folder = self.runs / job.name
        trainer = Trainer(self.model, job.plan, folder, device=self.device, body=self.body)

        def rows(at: int) -> Iterator[Row]:
            return stream(self.make(self.maker, job), job.name, at, ROW_LENGTH, self.tokenizer.pad_token_id, 0.0)

        after = trainer.run(rows, {"split": held_out})["split"]
        scores = Scores(round(before["answer"], 4), round(after["answer"], 4))
        if start is not None and after["answer"] < before["answer"]:
            return None
        manifest = Manifest(
            stage=job.stage, server=job.server, tool=job.tool, schema_fingerprint=job.fingerprint,
            base_digest=self.digest, rank=RANK, scores=scores, licence="Apache-2.0",
            data=TrainingData(self._data_digest(job), job.plan.rows * trainer.step),
        )  # fmt: skip
        self._save(target, manifest)
        return manifest

    def calibrate(self, job: Job) -> float:
        """Fit the temperature of a choosing adapter on held-out requests and write it into its manifest."""
        folder = self.output / job.name
        engine = HFEngine(load_model(self.output, precision="bf16"))
        adapter = AdapterStore([self.output], self.digest).best(job.stage)
        make, rng = self.make(self.judge, job), random.Random(f"calibrate/{job.name}")
        examples = [example for _ in range(CALIBRATION_GROUPS) for example in make(rng)]
        scores, right = [], []
        for example in examples:
            ranking = engine.rank(RankRequest(example.tokens, example.options, adapter, example.stable))
            scores.append(torch.tensor(ranking.log_probabilities))
            right.append(example.options.index(example.answer))

        def loss(temperature: float) -> float:
            return sum(
                float(-torch.log_softmax(score / temperature, -1)[at]) for score, at in zip(scores, right, strict=True)
            )

        best = min((0.25 * 1.06**step for step in range(60)), key=loss)
        save_manifest(replace(load_manifest(folder), temperature=round(best, 3)), folder)
        return best

    def make(self, maker: ExampleMaker, job: Job) -> Make:
        """What a job reads."""
        corpus = maker.corpus
        general = corpus.general
        if job.tool is not None:
            return lambda rng: maker.arguments(rng, [str(job.server)], rename=0.0, tool=job.tool)

        def one(rng: Any) -> Any:
            tuned = rng.random() < TUNED_SHARE
            targets = list(corpus.tuned) if tuned else general
            if job.stage == "route":
                return maker.route(rng, targets, [*corpus.tuned, *general], none=0.12)
            if job.stage == "select":
                if not tuned and rng.random() < 0.3:
                    return maker.select_public(rng)
                return maker.select(rng, targets, rename=0.1 if tuned else 0.3, none=0.09)
            if not tuned and rng.random() < 0.3:
                return maker.arguments_drill(rng)
            return maker.arguments(rng, targets, rename=0.1 if tuned else 0.3)

        return one

    def rows(self, maker: ExampleMaker, job: Job, seed: str, count: int) -> Sequence[Row]:
        """Fixed rows of a job, for measuring."""
        source = stream(self.make(maker, job), seed, 0, ROW_LENGTH, self.tokenizer.pad_token_id, 0.0, chunk=count)
        return [next(source) for _ in range(count)]

    def _weights(self) -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}

    def _reset(self, start: Path | None) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(self.start[name])
        if start is not None:
            set_peft_model_state_dict(self.model, load_file(start / "adapter_model.safetensors"))

    def _save(self, target: Path, manifest: Manifest) -> None:
        """Write the adapter beside its place and move it there whole."""
        partial = target.parent / (target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.model.save_pretrained(partial, save_embedding_layers=False)
        halve(partial / "adapter_model.safetensors")
        (partial / "README.md").unlink(missing_ok=True)
        save_manifest(manifest, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)

    def _data_digest(self, job: Job) -> str:
        rows = self.rows(self.maker, job, job.name, 8)
        return hashlib.sha256(b"".join(row.tokens.tobytes() for row in rows)).hexdigest()


def halve(path: Path) -> None:
    """Rewrite a safetensors file in bfloat16: the precision it is served in."""
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
