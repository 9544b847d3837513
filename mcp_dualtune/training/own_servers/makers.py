"""Trains the adapters of one server on the embedded models.

`Chooser` goes on from the choosing adapter in use and keeps its rank: what comes out stands alone, and outlives a new
version of that one. `ReadingMaker` and `WritingMaker` train small matrices on top of the generic adapter of their
model, which is a third of a megabyte for a tool instead of five. Reading is learnt from the requests to all tools at
once, since tools of a server say the same things alike and six requests to one teach little; every tool gets what came
of it as its own, so that a changed tool loses only its adapter.
"""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mcp_dualtune.adapter_registry.manifest import Manifest, TrainingData, save_manifest
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.reading import attach_head
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.training import adapters as writing
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.choosing import Choosing
from mcp_dualtune.training.encoder_adapters import HEAD, MODULES, NAME, groups, load_trainable
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Objective, Trainer, Watch, Writing
from mcp_dualtune.training.lora import AdaptedModel, Job, merged
from mcp_dualtune.training.own_servers.material import Material
from mcp_dualtune.training.packing import stream
from mcp_dualtune.training.reading import Pointing, readings
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import AdapterRef, ToolSpec

CHOICES = 24
"""Requests for each list of tools: embedding the list is the larger part of a step."""
PAGES = 6
"""Requests to a tool that are drawn together."""
NONE_SHARE = 0.04
"""Of choices: requests that no tool serves."""
READING_RANK = WRITING_RANK = 4
"""Of the matrices on top; docs/LOG.md has what other ranks came to."""
NEW_RANK = 16
"""Of a choosing adapter that starts from nothing."""


class Maker(ABC):
    """Trains adapters of one kind for one server, one after another on one model."""

    adapted: AdaptedModel
    objective: Objective
    below: AdapterRef | None = None
    start: Path | None = None

    def __init__(self, base: Path, digest: str, material: Material) -> None:
        self.base, self.digest, self.material = base, digest, material

    @abstractmethod
    def items(self, job: Job, seed: str, at: int) -> Iterator[Any]:
        """What the job reads, endless, from item `at` on."""

    def train(self, job: Job, seed: int, runs: Path, output: Path, watch: Watch) -> Manifest:
        """Train one adapter into the folder `output`; `runs` keeps what is needed to go on after an interruption."""
        self.adapted.reset(self.start)
        self.adapted.model.train()
        device = torch.device("cpu")
        trainer = Trainer(self.adapted.model, self.objective, job.plan, runs, device=device, watch=watch)
        trainer.run(lambda at: self.items(job, f"{seed} {job.folder}", at), {})
        self.adapted.model.eval()
        material = self.material
        manifest = Manifest(
            stage=job.stage, server=job.server, tool=job.tool, schema_fingerprint=job.fingerprint,
            base_digest=self.digest, rank=self.adapted.rank, licence=None,
            data=TrainingData(material.digest, trainer.step * job.plan.rows * self.each, material.sources_of(job.tool)),
            stacked_on=self.below.content if self.below else None,
        )  # fmt: skip
        self.adapted.save(output, manifest)
        return manifest

    @property
    @abstractmethod
    def each(self) -> int:
        """Requests in one item, about."""


class Chooser(Maker):
    """`select/<server>` on the public encoder."""

    each = CHOICES

    def __init__(self, base: Path, digest: str, material: Material, start: AdapterRef | None) -> None:
        super().__init__(base, digest, material)
        tokenizer = AutoTokenizer.from_pretrained(base)
        self.examples = ExampleMaker(Renderer.for_tokenizer(tokenizer), CaseMaker(material.corpus()), branches=CHOICES)
        if start is None:
            self.adapted = AdaptedModel(load_trainable(base), MODULES, NEW_RANK, 2 * NEW_RANK, NAME)
        else:
            self.start = start.path
            self.adapted = AdaptedModel.like(load_trainable(base), start.path, NAME)
        self.objective = Choosing(self.adapted.model, int(tokenizer.cls_token_id))

    def items(self, job: Job, seed: str, at: int) -> Iterator[Any]:
        """Groups of requests to the server's tools."""
        name = self.material.server.name
        return groups(partial(self.examples.select, targets=[name], rename=0.0, none=NONE_SHARE), seed, at)


class ReadingMaker(Maker):
    """`arguments/<server>/<tool>` for all tools, on the public encoder, on top of the generic reading adapter."""

    each = PAGES

    def __init__(
        self, base: Path, digest: str, material: Material, below: AdapterRef, rank: int = READING_RANK
    ) -> None:
        super().__init__(base, digest, material)
        self.below = below
        tokenizer = AutoTokenizer.from_pretrained(base)
        write = partial(readings, ReadingTemplate(tokenizer))
        self.examples = ExampleMaker(
            Renderer.for_tokenizer(tokenizer),
            CaseMaker(material.corpus()),
            branches=PAGES,
            write=lambda case, tool: write(with_fixed(case, tool), tool),
        )
        model = load_trainable(base)
        attach_head(model)
        self.adapted = AdaptedModel(merged(model, below), (*MODULES, *HEAD), rank, 2 * rank, NAME)
        self.objective = Pointing(self.adapted.model)

    def train(self, job: Job, seed: int, runs: Path, output: Path, watch: Watch) -> Manifest:
        """Train one adapter; the folder `output` gets one of it for every tool."""
        first, *others = learnt_tools(self.material)
        of_first = replace(job, tool=first.name, fingerprint=first.schema_fingerprint)
        manifest = super().train(of_first, seed, runs, output / first.schema_fingerprint, watch)
        for tool in others:
            data = replace(manifest.data, sources=self.material.sources_of(tool.name))
            own = replace(manifest, tool=tool.name, schema_fingerprint=tool.schema_fingerprint, data=data)
            place = output / tool.schema_fingerprint
            shutil.copytree(output / first.schema_fingerprint, place)
            save_manifest(own, place)
        return manifest

    def items(self, job: Job, seed: str, at: int) -> Iterator[Any]:
        """Groups of requests to one tool after the other, in any order."""
        names = [tool.name for tool in learnt_tools(self.material)]
        return groups(lambda rng: self._group(rng, rng.choice(names)), seed, at)

    def pages(self, tool: str, seed: str) -> Iterator[Any]:
        """Groups of requests to one tool, endless."""
        return groups(lambda rng: self._group(rng, tool), seed, 0)

    def _group(self, rng: random.Random, tool: str) -> Any:
        return self.examples.arguments(rng, [self.material.server.name], rename=0.0, tool=tool)


class WritingMaker(Maker):
    """`arguments/<server>/<tool>` on the embedded decoder, on top of the generic adapter where there is one."""

    each = PAGES

    def __init__(
        self, base: Path, digest: str, material: Material, below: AdapterRef | None, rank: int = WRITING_RANK
    ) -> None:
        super().__init__(base, digest, material)
        self.below = below
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.examples = ExampleMaker(
            Renderer.for_tokenizer(self.tokenizer), CaseMaker(material.corpus()), branches=PAGES
        )
        written = self.examples.write
        self.examples.write = lambda case, tool: written(with_fixed(case, tool), tool)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = merged(model, below) if below else model
        self.adapted = AdaptedModel(model, writing.MODULES, rank, 2 * rank, "mcp-dualtune/nano")
        self.objective = Writing(model, model.model, torch.device("cpu"))

    def items(self, job: Job, seed: str, at: int) -> Iterator[Any]:
        """Packed rows."""
        name = self.material.server.name
        make = partial(self.examples.arguments, targets=[name], rename=0.0, tool=job.tool)
        return stream(make, seed, at, writing.ROW_LENGTH, self.tokenizer.pad_token_id, 0.0, chunk=8)


def origin(store: AdapterStore, material: Material, candidates: Path) -> AdapterRef | None:
    """The choosing adapter to go on from: the server's own where the model or the config brings one, else the generic
    one. Never one that was trained here before, by another run or by this one (`candidates`): the same command twice
    gives the same adapter, and what is trained twice begins twice."""
    server = material.server
    own = ("select", server.name, server.tools_fingerprint)
    generic = None
    for stored in store.adapters:
        manifest = stored.manifest
        if {store.user, candidates} & {*stored.ref.path.parents}:
            continue
        # What comes on top of the generic one cannot go on alone.
        if (manifest.stage, manifest.server, manifest.schema_fingerprint) == own and manifest.stacked_on is None:
            return stored.ref
        if (manifest.stage, manifest.server) == ("select", None):
            generic = generic or stored.ref
    return generic


def learnt_tools(material: Material) -> list[ToolSpec]:
    """The tools with parameters to fill in for which there are requests to learn from."""
    learnt = {entry.tool for entry in material.training.entries if entry.requests}
    fixed = set(material.server.fixed_arguments)
    return [
        tool
        for tool in material.server.tools
        if tool.name in learnt and set(tool.input_schema.get("properties") or {}) - fixed
    ]


def with_fixed(case: Case, tool: ToolSpec) -> Case:
    """What the config gives to every call is no question to the model."""
    known = tool.input_schema.get("properties") or {}
    given = {name: value for name, value in case.server.fixed_arguments.items() if name in known}
    return replace(case, fixed={**case.fixed, **given}) if given else case
