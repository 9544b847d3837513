"""Makes the embedded model: vocabulary, decoder, adapters; each stage resumes, and is skipped when it is done.

    dualtune train nano --data DIR

Owns the recipe: sizes, mixtures, schedules. The numbers were chosen by the experiments in docs/LOG.md.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.models import encoder_folder
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.adapters import ROW_LENGTH, AdapterTrainer, WritingTrainer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.confidence import apply, assembled, everyday, fit, judge
from mcp_dualtune.training.encoder_adapters import SERVER_RANK, ChoosingTrainer, ReadingTrainer, ToolReadingTrainer
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Plan, Trainer, Writing
from mcp_dualtune.training.lora import Job, Make, condense
from mcp_dualtune.training.packing import PROMPT_WEIGHT, Row, stream
from mcp_dualtune.training.sources import TUNED, Corpus, load_corpus, split
from mcp_dualtune.training.start import prepare
from mcp_dualtune.training.statements import StatementTrainer
from mcp_dualtune.training.tokenizer import train_tokenizer
from mcp_dualtune.types import AdapterRef, Stage

CONTEXT = 4096
WIDTH, LAYERS, HEADS, INNER = 384, 6, 6, 512
HELD_OUT_ROWS = 24
BASE = Plan(steps=6000, rows=12, matrix_rate=4e-3, other_rate=2e-3, warmup=30)
SELECT = Plan(steps=600, rows=6, other_rate=4e-4, warmup=20, decay=0.8, measure_every=100, save_every=50)
ROUTE = replace(SELECT, steps=400)
SERVER = replace(SELECT, steps=40, rows=3, other_rate=3e-4, warmup=5)
READING = Plan(steps=4000, rows=32, other_rate=4e-4, warmup=30, decay=0.6, measure_every=100, save_every=50)
STATEMENT = Plan(steps=800, rows=32, other_rate=1.5e-3, warmup=8, decay=0.6, measure_every=100, save_every=50)
READING_TOOL = Plan(steps=120, rows=6, other_rate=1.5e-3, warmup=4, decay=0.6, measure_every=1000, save_every=1000)
ARGUMENTS = Plan(steps=70, rows=12, other_rate=3e-3, warmup=6, decay=0.7, measure_every=100, save_every=35)
TOOL = Plan(steps=30, rows=6, other_rate=3e-3, warmup=3, decay=0.8, measure_every=200, save_every=200)
SPECIALISED = {
    "filesystem": TOOL,
    # Which of several zone facts belongs where takes longer to learn than where one path stands.
    "time": replace(TOOL, steps=120),
    "git": TOOL,
    "memory": TOOL,
    "fetch": TOOL,
}
"""Servers whose tools get adapters of their own for their arguments, with plans."""
SEED = "nano-1"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Mixture:
    """Kinds of examples with their shares (of groups, not tokens)."""

    parts: tuple[tuple[float, Make], ...]

    def __call__(self, rng: random.Random) -> Any:
        """One group."""
        shares, makers = zip(*self.parts, strict=True)
        make: Make = rng.choices(makers, shares)[0]
        return make(rng)


def build_model(vocabulary: int) -> Any:
    """The untrained embedded model: a stock Llama, small FFN, tied embeddings."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=INNER, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}, rms_norm_eps=1e-5, initializer_range=0.02,
        bos_token_id=None, eos_token_id=1, pad_token_id=0, attention_dropout=0.0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def base_mixture(maker: ExampleMaker) -> Mixture:
    """What the decoder learns from: arguments of general and tuned servers, drills and public calls."""
    general, tuned = maker.corpus.general, list(maker.corpus.tuned)
    return Mixture(
        (
            (2.5, lambda rng: maker.arguments(rng, general)),
            (4.0, lambda rng: maker.arguments(rng, tuned, rename=0.12)),
            (2.0, maker.arguments_drill),
            (0.5, maker.arguments_public),
        )
    )


def held_out_rows(maker: ExampleMaker, pad: int) -> dict[str, list[Row]]:
    """Fixed rows on servers that are never trained on, without renaming or noise of names."""
    source = stream(lambda rng: maker.arguments(rng, maker.corpus.dev, rename=0.0), "held-out", 0, ROW_LENGTH, pad, 0.0)
    return {"arguments": [next(source) for _ in range(HELD_OUT_ROWS)]}


def train_nano(data: Path, runs: Path, output: Path, *, minutes: float | None = None, say: Say = print) -> None:
    """Make everything: `runs` keeps checkpoints and logs, `output` gets the decoder and the adapters of both models.

    `minutes` bounds the wall-clock time of the decoder; the adapters take about an hour on two cores.

    Raises:
        TrainingError: a data file is missing or broken.
    """
    encoder = encoder_folder()
    say("reading data")
    corpus = load_corpus(data)
    vocabulary = runs / "tokenizer"
    if not (vocabulary / "tokenizer.json").exists():
        say("training the vocabulary")
        train_tokenizer(corpus, vocabulary, CONTEXT)
    if not (output / "model.safetensors").exists():
        say("training the base model")
        plan = BASE if minutes is None else replace(BASE, minutes=minutes)
        model = train_base(corpus, vocabulary, runs, plan=plan, encoder=encoder)
        shutil.copytree(model, output, dirs_exist_ok=True)
    train_choosing(encoder, corpus, runs, output, say)
    job = Job("arguments", READING, place="reading")
    reading = ReadingTrainer(encoder, corpus, runs, output, pick_device())
    if trained(reading, job, say):
        say(f"{job.folder}: temperature {reading.calibrate(job):.2f}")
    train_tools(encoder, corpus, runs, output, say)
    train_statements(encoder, corpus, runs, output, say)
    filling = WritingTrainer(output, corpus, runs, output, pick_device())
    for job in argument_jobs(corpus):
        trained(filling, job, say, output / job.stage if job.tool else None)
    factor = fit(judge(assembled(output, encoder), everyday(corpus, SEED)))
    apply(output / "reading", factor)
    say(f"reading: temperatures times {factor:.2f}, so that the confidence of whole decisions is right")


def trained(trainer: AdapterTrainer, job: Job, say: Say, start: Path | None = None) -> bool:
    """Train one adapter and tell its scores; False where it was there or did not help."""
    manifest = trainer.train(job, start)
    if manifest is not None:
        say(f"{job.folder}: {manifest.scores.before} -> {manifest.scores.after}")
    return manifest is not None


def train_choosing(encoder: Path, corpus: Corpus, runs: Path, output: Path, say: Say) -> None:
    """`select`; `route` from what choosing any tool has taught; and for tuned servers what to add to `select`."""
    trainer = ChoosingTrainer(encoder, corpus, runs, output, pick_device())
    own = [Job("select", SERVER, name, None, corpus.servers[name].tools_fingerprint) for name in corpus.tuned]
    for job in (Job("select", SELECT), Job("route", ROUTE), *own):
        start = None if job.name == "select" else output / "select"
        if trained(trainer, job, say, start):
            if job.server is not None:
                condense(output / job.folder, generic(output / "select", encoder, "select"), SERVER_RANK)
            say(f"{job.folder}: temperature {trainer.calibrate(job):.2f}")


def generic(folder: Path, encoder: Path, stage: Stage) -> AdapterRef:
    """The adapter that those for single servers or tools come on top of.

    Raises:
        TrainingError: it is not there.
    """
    found = AdapterStore([folder], model_digest(encoder)).best(stage)
    if found is None:
        raise TrainingError(f"There is no adapter in {folder}.", hint="Train it first.")
    return found


def train_tools(
    encoder: Path, corpus: Corpus, runs: Path, output: Path, say: Say, servers: Sequence[str] = TUNED
) -> None:
    """Reading adapters for single tools of tuned servers, on top of the generic one; what does not help is left out."""
    below = generic(output / "reading", encoder, "arguments")
    trainer = ToolReadingTrainer(encoder, corpus, runs, output, pick_device(), below)
    for name in servers:
        for tool in corpus.servers[name].tools:
            asked = [entry for entry in corpus.entries[name] if entry.tool == tool.name]
            if not asked or not set(tool.input_schema.get("properties") or {}).difference(*(e.ambient for e in asked)):
                continue
            place = f"reading/{name}/{tool.name}"
            job = Job("arguments", READING_TOOL, name, tool.name, tool.schema_fingerprint, place)
            trained(trainer, job, say)


def train_statements(encoder: Path, corpus: Corpus, runs: Path, output: Path, say: Say) -> None:
    """The adapter that reads the parts of SQL, on top of the generic one for reading."""
    below = generic(output / "reading", encoder, "arguments")
    trainer = StatementTrainer(encoder, corpus, runs, output, pick_device(), below)
    job = trainer.job(STATEMENT)
    if trained(trainer, job, say):
        say(f"{job.folder}: temperature {trainer.calibrate(job):.2f}")


def argument_jobs(corpus: Corpus) -> list[Job]:
    """The adapters that fill in arguments, the generic one first."""
    own = [
        Job("arguments", plan, server, tool.name, tool.schema_fingerprint)
        for server, plan in SPECIALISED.items()
        for tool in corpus.servers[server].tools
        if tool.input_schema.get("properties")
    ]
    return [Job("arguments", ARGUMENTS), *own]


def train_base(
    corpus: Corpus,
    tokenizer_folder: Path,
    runs: Path,
    *,
    plan: Plan = BASE,
    encoder: Path | None = None,
) -> Path:
    """Pre-train the base model; returns the folder with config, tokenizer and bf16 weights."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    maker = ExampleMaker(Renderer.for_tokenizer(tokenizer), CaseMaker(split(corpus, held_out=False)))
    model = build_model(len(tokenizer))
    prepare(model, tokenizer, encoder)
    mixture = base_mixture(maker)

    def rows(start: int) -> Iterator[Row]:
        return stream(mixture, SEED, start, ROW_LENGTH, tokenizer.pad_token_id, PROMPT_WEIGHT)

    device = pick_device()
    trainer = Trainer(model, Writing(model, torch.compile(model.model), device), plan, runs / "base", device=device)
    trainer.run(rows, held_out_rows(maker, tokenizer.pad_token_id))
    folder = runs / "base" / "model"
    model.to("cpu", torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def pick_device() -> torch.device:
    """A GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
