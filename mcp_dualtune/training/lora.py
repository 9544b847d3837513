"""What every adapter we train has in common: its LoRA layers, its folder, its temperature.

Owns PEFT's side of training. What is learnt belongs to `adapters` (arguments) and `choosing` (route, select).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from mcp_dualtune.adapter_registry.manifest import CONFIG, FILE_NAME, WEIGHTS, Manifest, load_manifest, save_manifest
from mcp_dualtune.engine.base import Engine, RankRequest
from mcp_dualtune.training.examples import Example
from mcp_dualtune.training.loop import Plan
from mcp_dualtune.types import AdapterRef, Stage

HEAD_STD = 0.05
TEMPERATURES = tuple(0.25 * 1.06**step for step in range(60))

Make = Callable[[random.Random], Sequence[Any]]
"""Draws one group of examples."""


@dataclass(frozen=True)
class Job:
    """One adapter to train."""

    stage: Stage
    plan: Plan
    server: str | None = None
    tool: str | None = None
    fingerprint: str | None = None
    place: str | None = None
    """Its folder, where that is not the stage's own (two models may have adapters for one stage)."""

    @property
    def name(self) -> str:
        """`route`, `arguments/filesystem/move_file`."""
        return "/".join(part for part in (self.stage, self.server, self.tool) if part)

    @property
    def folder(self) -> str:
        """Where it is kept, below the folder of all adapters."""
        return self.place or self.name


class AdaptedModel:
    """A base model with one set of LoRA matrices that is reset between adapters."""

    def __init__(
        self,
        base: Any,
        modules: Sequence[str],
        rank: int,
        alpha: int,
        name: str,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        """`heads` are modules among `modules` whose own weights are zero, with the ranks they get."""
        torch.manual_seed(0)
        self.rank = rank
        ranks = dict(heads or {})
        config = LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=list(modules), rank_pattern=ranks, alpha_pattern=ranks
        )
        self.model: Any = get_peft_model(base, config)
        for parameter_name, parameter in self.model.named_parameters():
            # Where two zero layers meet in a product, no gradient would ever flow.
            if parameter_name.endswith(tuple(f"{head}.lora_B.default.weight" for head in ranks)):
                torch.nn.init.normal_(parameter, std=HEAD_STD)
        self._begin(name)

    @classmethod
    def like(cls, base: Any, start: Path, name: str) -> AdaptedModel:
        """A model to go on training the adapter in `start`, with its ranks and layers."""
        made = cls.__new__(cls)
        made.model = PeftModel.from_pretrained(base, start, is_trainable=True)
        made.rank = made.model.peft_config["default"].r
        made._begin(name)
        return made

    def _begin(self, name: str) -> None:
        # PEFT would write the folder of this machine; the manifest's digest is what binds an adapter to its base.
        self.model.peft_config["default"].base_model_name_or_path = name
        self._start = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}

    def reset(self, start: Path | None) -> None:
        """Back to zero, or to the adapter in the folder `start`."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(self._start[name])
        if start is not None:
            set_peft_model_state_dict(self.model, load_file(start / WEIGHTS))

    def save(self, target: Path, manifest: Manifest) -> None:
        """Write the adapter beside its place, then move its files there; folders below `target` stay."""
        partial = target.parent / (target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.model.save_pretrained(partial, save_embedding_layers=False)
        halve(partial / WEIGHTS)
        (partial / "README.md").unlink(missing_ok=True)
        save_manifest(manifest, partial)
        target.mkdir(parents=True, exist_ok=True)
        # The manifest comes last: without it a folder is no adapter.
        for path in sorted(partial.iterdir(), key=lambda path: path.name == FILE_NAME):
            path.replace(target / path.name)
        partial.rmdir()


def merged(model: Any, below: AdapterRef) -> Any:
    """The model with an adapter's changes worked into its weights: what is trained then comes on top of them."""
    return PeftModel.from_pretrained(model, below.path).merge_and_unload()


def condense(folder: Path, below: AdapterRef, rank: int) -> None:
    """Rewrite the adapter in `folder`, which went on from `below`, as smaller matrices that come on top of that one.

    The difference of the two is cut to its largest singular values, layer by layer.
    """
    whole, start = load_file(folder / WEIGHTS), load_file(below.path / WEIGHTS)
    settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    cut = {}
    for down in (name for name in whole if "lora_A" in name):
        up = down.replace("lora_A", "lora_B")
        change = scale * (whole[up].float() @ whole[down].float() - start[up].float() @ start[down].float())
        left, sizes, right = torch.linalg.svd(change, full_matrices=False)
        roots = (sizes[:rank] / scale).sqrt()
        cut[up], cut[down] = left[:, :rank] * roots, roots[:, None] * right[:rank]
    save_file({name: tensor.to(torch.bfloat16).contiguous() for name, tensor in cut.items()}, folder / WEIGHTS)
    settings |= {"r": rank, "lora_alpha": round(scale * rank)}
    (folder / CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    save_manifest(replace(load_manifest(folder), rank=rank, stacked_on=below.content), folder)


def calibrate(engine: Engine, adapter: AdapterRef, examples: Sequence[Example]) -> float:
    """Fit the temperature of a choosing adapter on held-out examples and write it into its manifest."""
    scores, right = [], []
    for example in examples:
        ranking = engine.rank(RankRequest(example.tokens, example.options, adapter, example.stable))
        scores.append(torch.tensor(ranking.log_probabilities))
        right.append(example.options.index(example.answer))

    def loss(temperature: float) -> float:
        return sum(
            float(-torch.log_softmax(score / temperature, -1)[at]) for score, at in zip(scores, right, strict=True)
        )

    return set_temperature(adapter.path, min(TEMPERATURES, key=loss))


def set_temperature(folder: Path, temperature: float) -> float:
    """Write the fitted temperature into an adapter's manifest."""
    save_manifest(replace(load_manifest(folder), temperature=round(temperature, 3)), folder)
    return temperature


def halve(path: Path) -> None:
    """Rewrite a safetensors file in bfloat16: the precision it is served in."""
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
