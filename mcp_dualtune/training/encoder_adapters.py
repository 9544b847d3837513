"""Trains the adapters of the public encoder: `route` and `select`, which choose, and `reading`, which finds values."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.engine.reading import POINTER, attach_head
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.training.adapters import AdapterTrainer, makers
from mcp_dualtune.training.attention import register
from mcp_dualtune.training.choosing import Choosing
from mcp_dualtune.training.confidence import beside
from mcp_dualtune.training.examples import Example, ExampleMaker, choice
from mcp_dualtune.training.lora import AdaptedModel, Job, Make, calibrate, merged, set_temperature
from mcp_dualtune.training.reading import Pointing, readings
from mcp_dualtune.training.sources import Corpus, calibration_cases, unseen_cases
from mcp_dualtune.types import NONE, AdapterRef, Request

NAME = "sentence-transformers/all-MiniLM-L6-v2"
RANK, ALPHA = 32, 64
READING_RANK, READING_ALPHA = 64, 128
SERVER_RANK, TOOL_RANK = 16, 2
"""Of what a server adds to the generic choosing adapter (1.3 MB), and a tool to the generic reading adapter (0.2)."""
MODULES = ("query", "key", "value", "dense")
HEAD = ("slot", "token")
BRANCHES = 24
"""Requests per list: embedding the list is the larger part of a step."""
READING_BRANCHES = 3
"""Requests to one tool: pages share nothing, so a step with more tools teaches more."""
LISTED_TOOLS = 5
"""Tools shown of each server when learning to route, the right one among them; serving shows all."""
EASIER = 0.6
"""What the fitted temperature of `select/<server>` is multiplied with: half of what it is fitted on are held-out
phrases, which are harder than what people ask."""
TRIES = 200
"""Groups in a row that may come out empty, as some requests are too long for a page."""
HELD_OUT_GROUPS, READING_GROUPS, TOOL_GROUPS = 24, 60, 16
TUNED_SHARE, READ_TUNED, READ_GENERAL, READ_DRILLS = 0.35, 0.22, 0.64, 0.08
"""Shares of lists and of pages. Tuned servers get adapters of their own on top; servers never seen have only these."""


class ChoosingTrainer(AdapterTrainer):
    """`route` and `select`; `select/<server>` goes on from `select` and is kept as what it adds to that."""

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        super().__init__(base, runs, output, device)
        tokenizer = AutoTokenizer.from_pretrained(base)
        renderer = Renderer.for_tokenizer(tokenizer)
        self.maker, self.judge = makers(renderer, corpus, branches=BRANCHES, listed_tools=LISTED_TOOLS)
        self.adapted = AdaptedModel(load_trainable(base), MODULES, RANK, ALPHA, NAME)
        self.objective = Choosing(self.adapted.model, int(tokenizer.cls_token_id))

    def items(self, job: Job, at: int) -> Iterator[Any]:
        """Groups of requests to one list."""
        return groups(self._make(job), job.name, at)

    def held_out(self, job: Job) -> Mapping[str, Sequence[Any]]:
        """Held-out requests of tuned servers (or of the one), and requests of servers that are never trained on."""
        if job.server is not None:
            return {"own": self._held_out(job, [job.server], self.judge)}
        corpus = self.maker.corpus
        return {
            "tuned": self._held_out(job, list(corpus.tuned), self.judge),
            "unseen": self._held_out(job, list(corpus.dev), self.maker),
        }

    def taught(self, item: Any) -> tuple[bytes, int]:
        """A group is a list of examples."""
        return repr(item).encode(), len(item)

    def calibrate(self, job: Job) -> float:
        """Fit the temperature of a choosing adapter on everyday requests, half of them on servers never seen."""
        engine = EncoderEngine(load_encoder(self.base))
        adapter = AdapterStore([self.output / job.stage], engine.digest).best(job.stage, job.server)
        if adapter is None:
            raise ValueError(f"There is no adapter {job.folder} in {self.output}.")
        temperature = calibrate(engine, adapter, self._everyday(job))
        if job.server is None:
            return temperature
        return set_temperature(adapter.path, max(1.0, EASIER * temperature))

    def _everyday(self, job: Job) -> list[Example]:
        renderer, corpus = self.maker.renderer, self.maker.corpus
        cases, unseen = calibration_cases(corpus), unseen_cases(corpus)
        if job.stage == "route":
            servers, rng = [corpus.servers[name] for name in corpus.tuned], random.Random(job.name)
            offers = [(case, servers) for case in cases] + [(case, beside(case.server, corpus, rng)) for case in unseen]
            return [choice(renderer.route(Request(c.query), offer), c.server.name or NONE) for c, offer in offers]
        asked = [case for case in (*cases, *unseen) if case.server.name and job.server in (None, case.server.name)]
        found = [choice(renderer.select(Request(case.query), case.server), case.tool) for case in asked]
        if job.server is not None:
            # A server has few of them, and a temperature fitted on right choices alone would say 1 to everything.
            own = [example for group in self.held_out(job)["own"] for example in group]
            return found + own[: len(found)]
        return found

    def _make(self, job: Job) -> Make:
        maker = self.maker
        general, tuned = maker.corpus.general, list(maker.corpus.tuned)

        def one(rng: random.Random) -> Any:
            own, roll = rng.random() < TUNED_SHARE, rng.random()
            if job.server is not None:
                return maker.select(rng, [job.server], rename=0.0, none=0.14)
            if job.stage == "route":
                if not own and roll < 0.3:
                    return maker.route_catalogue(rng)
                return maker.route(rng, tuned if own else general, [*tuned, *general], none=0.18)
            if own:
                return maker.select(rng, tuned, rename=0.1, none=0.14)
            if roll < 0.1:
                return maker.select_catalogue(rng)
            return maker.select_public(rng) if roll < 0.2 else maker.select(rng, general, rename=0.4, none=0.1)

        return one

    def _held_out(self, job: Job, servers: list[str], maker: ExampleMaker) -> list[Any]:
        pool = [*maker.corpus.tuned, *maker.corpus.general]

        def one(rng: random.Random) -> Any:
            if job.stage == "route":
                return maker.route(rng, servers, pool, none=0.12)
            return maker.select(rng, servers, rename=0.0, none=0.07)

        source = groups(one, f"judge/{job.name}/{len(servers)}", 0)
        return [next(source) for _ in range(HELD_OUT_GROUPS)]


class ReadingTrainer(AdapterTrainer):
    """`reading`: the values that stand on the page, for any tool."""

    objective: Pointing

    def __init__(self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device) -> None:
        super().__init__(base, runs, output, device)
        tokenizer = AutoTokenizer.from_pretrained(base)
        write = partial(readings, ReadingTemplate(tokenizer))
        renderer = Renderer.for_tokenizer(tokenizer)
        self.maker, self.judge = makers(renderer, corpus, branches=READING_BRANCHES, write=write)
        model = load_trainable(base)
        attach_head(model)
        self.adapted = self._adapt(model)
        self.objective = Pointing(self.adapted.model)

    def items(self, job: Job, at: int) -> Iterator[Any]:
        """Groups of requests to one tool."""
        return groups(self._make(job), job.folder, at)

    def held_out(self, job: Job) -> Mapping[str, Sequence[Any]]:
        """Held-out requests of tuned servers, and requests of servers that are never trained on."""
        corpus = self.maker.corpus
        makers = {"tuned": (self.judge, list(corpus.tuned)), "unseen": (self.maker, list(corpus.dev))}
        kept = {}
        for name, (maker, servers) in makers.items():
            source = groups(partial(maker.arguments, targets=servers, rename=0.0), f"judge/{job.folder}/{name}", 0)
            kept[name] = [next(source) for _ in range(READING_GROUPS)]
        return kept

    def taught(self, item: Any) -> tuple[bytes, int]:
        """A group is a list of pages."""
        return repr(item).encode(), len(item)

    def calibrate(self, job: Job) -> float:
        """Fit the temperature of the adapter trained last on requests that nothing is trained on."""
        self.adapted.model.eval()
        return set_temperature(self.output / job.folder, self.objective.fit_temperature(self._unlearnt(job)))

    def _unlearnt(self, job: Job) -> Sequence[Any]:
        """Everyday requests, half of them on servers never seen."""
        cases = (*calibration_cases(self.maker.corpus), *unseen_cases(self.maker.corpus))
        return [self.maker.arguments_of(case) for case in cases if case.server.name]

    def _adapt(self, model: Any) -> AdaptedModel:
        ranks = dict.fromkeys(HEAD, POINTER)
        return AdaptedModel(model, (*MODULES, *HEAD), READING_RANK, READING_ALPHA, NAME, ranks)

    def _make(self, job: Job) -> Make:
        maker = self.maker
        general, tuned = maker.corpus.general, list(maker.corpus.tuned)

        def one(rng: random.Random) -> Any:
            roll = rng.random()
            if roll < READ_TUNED:
                return maker.arguments(rng, tuned, rename=0.12)
            if roll < READ_TUNED + READ_GENERAL:
                return maker.arguments(rng, general, rename=0.3)
            drill = roll < READ_TUNED + READ_GENERAL + READ_DRILLS
            return maker.arguments_drill(rng) if drill else maker.arguments_public(rng)

        return one


class ToolReadingTrainer(ReadingTrainer):
    """`arguments/<server>/<tool>`: small matrices on top of the generic reading adapter."""

    rank = TOOL_RANK

    def __init__(
        self, base: Path, corpus: Corpus, runs: Path, output: Path, device: torch.device, below: AdapterRef
    ) -> None:
        self.below = below
        super().__init__(base, corpus, runs, output, device)

    def items(self, job: Job, at: int) -> Iterator[Any]:
        """Groups of requests to the tool."""
        return self._pages(self.maker, job, job.folder, at)

    def held_out(self, job: Job) -> Mapping[str, Sequence[Any]]:
        """Held-out requests to the tool."""
        source = self._pages(self.judge, job, f"judge/{job.folder}", 0)
        return {"own": [next(source) for _ in range(TOOL_GROUPS)]}

    def _adapt(self, model: Any) -> AdaptedModel:
        assert self.below is not None
        return AdaptedModel(merged(model, self.below), (*MODULES, *HEAD), self.rank, 2 * self.rank, NAME)

    def _pages(self, maker: ExampleMaker, job: Job, seed: str, at: int) -> Iterator[Any]:
        return groups(partial(maker.arguments, targets=[str(job.server)], rename=0.0, tool=job.tool), seed, at)


def load_trainable(base: Path) -> Any:
    """The encoder in float32, without dropout: with it, attention leaves its fast path and steps take twice as long."""
    return AutoModel.from_pretrained(
        base,
        add_pooling_layer=False,
        dtype=torch.float32,
        attn_implementation=register(),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def groups(make: Make, seed: str, start: int) -> Iterator[Any]:
    """Groups; group k depends on (seed, k) only, so the stream can start anywhere.

    It ends only where nothing can be made, such as pages for a tool whose options fill more than one.
    """
    for number in count(start):
        rng = random.Random(f"{seed}/{number}")
        group = next((group for _ in range(TRIES) if (group := make(rng))), None)
        if group is None:
            return
        yield group
