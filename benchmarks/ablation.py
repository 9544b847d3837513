"""What decoupled fine-tuning is worth at our size: the ablation of the paper (arXiv 2510.00229), on the encoder.

    python -m benchmarks.ablation --steps 600 --requests 250

For each category (the tools of one tuned server, or of all of them) these are trained on as many requests as each other
and measured on requests of the held-out split:

- base: the public encoder without adapters chooses, the shipped decoder without adapters writes.
- joint: one adapter for whole calls, of twice the rank; every step teaches it to choose and to read.
- decoupled: an adapter for choosing and another for reading, each taught what the joint one learns of its kind.
- hierarchy: the same adapter for choosing; half of the reading is taught to one adapter, the other half to small ones
  on top of it, one for each tool.

A budget in steps, not minutes: other work on the machine takes nothing away from a variant.

Each is measured with constraints (values begin and end at words and have the schema's type, the decoder obeys the
grammar) and without. `tool` and `arguments` count the requests with the right server, `call` all of them. Only the
phrases of this package are needed. Every adapter is kept in --runs, and a second run goes on where the first ended.

    python -m benchmarks.ablation --shipped

trains nothing, and measures base and the adapters that are shipped on the built-in suites.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import torch

from mcp_dualtune.adapter_registry.manifest import FILE_NAME, Manifest, TrainingData
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, load_catalog_file
from mcp_dualtune.config import Config, Settings, ThresholdSettings
from mcp_dualtune.engine.base import Completion, GenerationRequest
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_encoder, load_model, model_digest
from mcp_dualtune.engine.reading import POINTER, attach_head
from mcp_dualtune.errors import EngineError
from mcp_dualtune.evaluation.cases import built_in, load_suite
from mcp_dualtune.evaluation.harness import Decider, run_cases
from mcp_dualtune.evaluation.score import Rate, same_arguments, score
from mcp_dualtune.evaluation.ways import without_adapters
from mcp_dualtune.models import embedded_model, encoder_folder
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.numerals import number_of
from mcp_dualtune.prompting.reading import Page, ReadingTemplate, Span
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.choosing import Choosing
from mcp_dualtune.training.encoder_adapters import (
    BRANCHES,
    HEAD,
    LISTED_TOOLS,
    MODULES,
    NAME,
    RANK,
    READING_BRANCHES,
    groups,
    load_trainable,
)
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Plan, Trainer
from mcp_dualtune.training.lora import AdaptedModel, Make
from mcp_dualtune.training.reading import Pointing, readings
from mcp_dualtune.training.records import Case
from mcp_dualtune.training.sources import Corpus, split, tuned_corpus
from mcp_dualtune.types import JSON, Request, Stage, ToolSpec

CATEGORIES = ("filesystem", "monday", "notion", "git", "all")
VARIANTS = ("base", "joint", "decoupled", "hierarchy")
REQUESTS = 150
"""Held-out requests of a category."""
MEASURES = ("server", "tool", "arguments", "call")
ROWS = {"choose": 1, "read": 6}
"""Lists of requests a step: both cost about the same time."""
LEAST = 4
"""Steps below which an adapter of a tool is not worth having: a category with too many tools gets no hierarchy."""
RATE = 1.5e-3
UNLIMITED = ThresholdSettings(nothing=1.0, ask=0.0)
"""No adapter here is calibrated."""


Item = Sequence[tuple[str, Any]]
"""One step's lists of requests, each with what it teaches: `choose` or `read`."""


@dataclass(frozen=True)
class Both:
    """Choosing and reading, as the items of a step say."""

    choosing: Choosing
    pointing: Pointing

    def loss(self, items: Sequence[Item]) -> torch.Tensor:
        """Sum of the mean losses of both kinds."""
        parts = []
        for kind, objective in (("choose", self.choosing), ("read", self.pointing)):
            own = [group for item in items for name, group in item if name == kind]
            parts += [objective.loss(own)] if own else []
        return torch.stack(parts).sum()

    def measure(self, items: Sequence[Item], size: int) -> dict[str, float]:
        """Nothing is measured on the way."""
        return {}


class Adapters:
    """Trains the adapters of all variants, with one wrapped model."""

    def __init__(self, corpus: Corpus, runs: Path, steps: int) -> None:
        self.corpus, self.runs, self.steps = corpus, runs, steps
        self.digest = model_digest(encoder_folder())
        tokenizer = load_encoder(encoder_folder()).tokenizer
        write = partial(readings, ReadingTemplate(tokenizer))
        learnt = split(corpus, held_out=False)
        learnt.catalogue += learnt.servers.values()  # a server with few tools gets those of another one
        cases = CaseMaker(learnt)
        renderer = Renderer.for_tokenizer(tokenizer)
        self.chooser = ExampleMaker(renderer, cases, branches=BRANCHES, listed_tools=LISTED_TOOLS)
        self.reader = ExampleMaker(renderer, cases, branches=READING_BRANCHES, write=write)
        self.start = int(tokenizer.cls_token_id)
        # The joint adapter has the weights of two.
        self.single, self.double = (self._adapted(rank) for rank in (RANK, 2 * RANK))

    def _adapted(self, rank: int) -> AdaptedModel:
        model = load_trainable(encoder_folder())
        attach_head(model)
        return AdaptedModel(model, (*MODULES, *HEAD), rank, 2 * rank, NAME, dict.fromkeys(HEAD, POINTER))

    def folder(self, category: str, variant: str) -> Path:
        """Folder with the adapters of a variant; what is there already is not trained again."""
        folder, servers = self.runs / category / variant, servers_of(self.corpus, category)
        folder.mkdir(parents=True, exist_ok=True)
        choosing: tuple[Stage, ...] = ("route", "select") if len(servers) > 1 else ("select",)
        kinds: dict[str, Make] = {"read": partial(self.reader.arguments, targets=servers, rename=0.0)}
        choose = {"choose": partial(self._choices, servers)}
        if variant == "joint":
            self._train(folder / "call", {**choose, **kinds}, self.steps, (*choosing, "arguments"))
        elif variant == "decoupled":
            self._train(folder / "choosing", choose, self.steps, choosing)
            self._train(folder / "reading", kinds, self.steps, ("arguments",))
        elif variant == "hierarchy":
            shutil.copytree(self.runs / category / "decoupled" / "choosing", folder / "choosing", dirs_exist_ok=True)
            self._train(folder / "reading", kinds, self.steps // 2, ("arguments",))
            tools = self._tools(category)
            for server, tool in tools:
                one = {"read": partial(self.reader.arguments, targets=[server], rename=0.0, tool=tool.name)}
                place, steps = folder / f"reading-{server}-{tool.name}", self.steps // 2 // len(tools)
                self._train(place, one, steps, ("arguments",), start=folder / "reading" / "arguments", tool=tool)
        return folder

    def variants(self, category: str) -> list[str]:
        """Those that the steps are enough for."""
        enough = self.steps // 2 // len(self._tools(category)) >= LEAST
        return [variant for variant in VARIANTS if enough or variant != "hierarchy"]

    def _tools(self, category: str) -> list[tuple[str, ToolSpec]]:
        """Those with parameters, and with requests that fit a page: one has more options than a page that is learnt."""
        tools = [(s, t) for s in servers_of(self.corpus, category) for t in self.corpus.servers[s].tools]
        rng = random.Random("tools")
        return [
            (s, t)
            for s, t in tools
            if t.input_schema.get("properties")
            and any(self.reader.arguments(rng, [s], rename=0.0, tool=t.name) for _ in range(5))
        ]

    def _choices(self, servers: Sequence[str], rng: random.Random) -> Any:
        if len(servers) > 1 and rng.random() < 0.5:
            return self.chooser.route(rng, servers, servers, none=0.0)
        return self.chooser.select(rng, servers, rename=0.0, none=0.0)

    def _train(
        self,
        target: Path,
        kinds: Mapping[str, Make],
        steps: int,
        stages: Sequence[Stage],
        start: Path | None = None,
        tool: ToolSpec | None = None,
    ) -> None:
        """Train one adapter and write it once for each stage it speaks for."""
        if (target / stages[-1] / FILE_NAME).exists():
            return
        print(f"training {target.relative_to(self.runs)} for {steps} steps", flush=True)
        adapted = self.double if "choose" in kinds and "read" in kinds else self.single
        objective = Both(Choosing(adapted.model, self.start), Pointing(adapted.model))
        adapted.reset(start)
        plan = Plan(steps, 1, other_rate=RATE, warmup=min(5, steps // 4), decay=0.7, measure_every=10**6, save_every=50)
        trainer = Trainer(adapted.model, objective, plan, target / "run", device=torch.device("cpu"))
        adapted.model.train()

        def items(at: int) -> Iterator[Item]:
            sources = {kind: groups(make, f"{target.name}/{kind}", at * ROWS[kind]) for kind, make in kinds.items()}
            while True:
                yield [(kind, next(source)) for kind, source in sources.items() for _ in range(ROWS[kind])]

        trainer.run(items, {})
        for stage in stages:
            manifest = Manifest(
                stage, self.digest, adapted.rank, TrainingData("0" * 64, trainer.step), server=tool and tool.server,
                tool=tool and tool.name, schema_fingerprint=tool and tool.schema_fingerprint,
            )  # fmt: skip
            adapted.save(target / stage, manifest)


class Unbound:
    """An engine that writes without a grammar."""

    def __init__(self, engine: HFEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """As the engine would, if nothing held it."""
        return self._engine.generate(replace(request, grammar=None, max_tokens=128), cancel)


class LoosePage(Page):
    """A page on which values may begin and end anywhere, with no regard to their type."""

    def _borders(self, slot: int, source: int) -> tuple[frozenset[int], frozenset[int]]:
        anywhere = frozenset(range(len(self.sources[source].text) + 1))
        return (anywhere, anywhere) if self.sources[source].slot in (None, slot) else (frozenset(), frozenset())

    def value(self, slot: int, span: Span) -> JSON:
        """The text as it stands there, or as a number where it is one."""
        first, last = self.places[span[0]], self.places[span[1]]
        if first is None or last is None or first[0] != last[0] or span[1] < span[0]:
            return None
        text = self.sources[first[0]].text[first[1] : last[2]]
        number = number_of(text) if self.slots[slot].schema.get("type") in ("integer", "number") else None
        return text if number is None else number


class LooseTemplate(ReadingTemplate):
    """Writes such pages."""

    def pages(self, *args: Any, **options: Any) -> list[Page]:
        """See `ReadingTemplate.pages`."""
        made = super().pages(*args, **options)
        return [LoosePage(page.tokens, page.slots, page.marks, page.places, page.sources) for page in made]


def pipeline(adapters: Path, constrained: bool) -> Pipeline:
    """The pipeline of the embedded model with the adapters of one variant."""
    encoder = EncoderEngine(load_encoder(encoder_folder()))
    decoder = HFEngine(load_model(embedded_model()))
    store = AdapterStore([adapters], encoder.digest)
    template = ReadingTemplate(encoder.tokenizer) if constrained else LooseTemplate(encoder.tokenizer)
    writing: Any = decoder if constrained else Unbound(decoder)
    filling = Seat.of(writing, AdapterStore((), decoder.digest))
    return Pipeline(filling, Seat.of(encoder, store), UNLIMITED, Reader(encoder, template, store))


def held_out(corpus: Corpus, category: str, count: int) -> list[Case]:
    """Requests of the held-out split that ask for one call."""
    maker, rng = CaseMaker(split(corpus, held_out=True)), random.Random(f"ablation/{category}")
    servers, found = servers_of(corpus, category), []
    while len(found) < count:
        server = rng.choice(servers)
        case = maker.single(server, rng.choice(corpus.entries[server]), rng)
        if not case.missing:
            found.append(case)
    return found


def servers_of(corpus: Corpus, category: str) -> list[str]:
    """The tuned servers of a category."""
    return list(corpus.tuned) if category == "all" else [category]


def measure(decided: Pipeline, corpus: Corpus, category: str, cases: Sequence[Case]) -> dict[str, Rate]:
    """Shares of right servers, tools, arguments (where the tool was right) and whole calls."""
    hits = dict.fromkeys(MEASURES, 0)
    for case in cases:
        shown = [replace(corpus.servers[name], fixed_arguments={}) for name in servers_of(corpus, category)]
        shown = [replace(s, fixed_arguments=case.fixed) if s.name == case.server.name else s for s in shown]
        request = Request(case.query, (), case.context, None if len(shown) > 1 else (shown[0].name,))
        try:
            made = decided.decide(request, Catalog(tuple(shown)), Event())
        except EngineError:
            continue
        server = made.server == case.server.name
        tool = server and made.tool == case.tool
        wanted = {**(case.arguments or {}), **case.fixed}
        right = tool and made.outcome == "call" and same_arguments(wanted, made.arguments, {})
        for name, hit in zip(MEASURES, (server, tool, right, right), strict=True):
            hits[name] += hit
    totals = (len(cases), len(cases), hits["tool"], len(cases))
    return {name: Rate(hits[name], total) for name, total in zip(MEASURES, totals, strict=True)}


def row(category: str, variant: str, constrained: bool, rates: Mapping[str, Rate]) -> str:
    """One line of the Markdown table."""
    cells = " | ".join(rate.percent for rate in rates.values())
    return f"| {category} | {variant} | {'yes' if constrained else 'no'} | {cells} |"


def shipped() -> None:
    """The built-in suites without any adapter and with those that come with the package."""
    config = Config(settings=Settings())
    decider = Decider.load(config)
    print("| suite | variant | server % | tool % | call % | whole decision % |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for suite in ("seven", "unseen"):
        files = built_in(suite)
        assert files is not None
        cases, catalog = load_suite(files[0]), load_catalog_file(files[1])
        base = Decider(without_adapters(decider.pipeline, config.settings))
        for name, way in (("base", base), ("shipped", decider)):
            rates = score(cases, list(run_cases(way, cases, catalog, config))).rates
            counted = (rates.server, rates.tool, rates.full_call, rates.decision)
            print(f"| {suite} | {name} | {' | '.join(rate.percent for rate in counted)} |", flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160, help="training steps of each variant of a category")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="held-out requests measured in each category")
    parser.add_argument("--categories", default=",".join(CATEGORIES))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="where adapters are kept")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--shipped", action="store_true", help="measure the shipped adapters on the built-in suites")
    args = parser.parse_args()
    if args.shipped:
        return shipped()
    corpus = tuned_corpus()
    adapters = Adapters(corpus, args.runs, args.steps)
    print("| category | variant | constrained | server % | tool % | arguments % | call % |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    found = []
    for category in args.categories.split(","):
        cases = held_out(corpus, category, args.requests)
        for variant in (one for one in adapters.variants(category) if one in args.variants.split(",")):
            folder = adapters.folder(category, variant)
            for constrained in (True, False):
                rates = measure(pipeline(folder, constrained), corpus, category, cases)
                print(row(category, variant, constrained, rates), flush=True)
                numbers = {name: vars(rate) for name, rate in rates.items()}
                found.append({"category": category, "variant": variant, "constrained": constrained, **numbers})
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
