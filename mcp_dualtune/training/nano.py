"""Makes the embedded model: vocabulary, base model, adapters; each stage resumes, and is skipped when it is done.

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

from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.adapters import ROW_LENGTH, AdapterTrainer, Job, split
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.examples import ExampleMaker
from mcp_dualtune.training.loop import Plan, Trainer
from mcp_dualtune.training.packing import PROMPT_WEIGHT, Row, stream
from mcp_dualtune.training.sources import Corpus, load_corpus
from mcp_dualtune.training.start import prepare
from mcp_dualtune.training.tokenizer import VOCABULARY, train_tokenizer

CONTEXT = 4096
WIDTH, LAYERS, HEADS, INNER = 384, 6, 6, 512
HELD_OUT_ROWS = 24
BASE = Plan(steps=6000, rows=8, matrix_rate=4e-3, other_rate=2e-3, warmup=30)
SELECT = Plan(steps=70, rows=8, other_rate=5e-3, warmup=6, decay=0.7, measure_every=100, save_every=35)
ROUTE, ARGUMENTS = replace(SELECT, steps=60), replace(SELECT, steps=70)
TOOL = Plan(steps=12, rows=4, other_rate=2e-3, warmup=2, decay=0.8, measure_every=100, save_every=100)
SEED = "nano-1"

Say = Callable[[str], None]
Make = Callable[[random.Random], Any]


@dataclass(frozen=True)
class Mixture:
    """Kinds of examples with their shares (of groups, not tokens)."""

    parts: tuple[tuple[float, Make], ...]

    def __call__(self, rng: random.Random) -> Any:
        """One group."""
        shares, makers = zip(*self.parts, strict=True)
        make: Make = rng.choices(makers, shares)[0]
        return make(rng)


def build_model() -> Any:
    """The untrained embedded model: a stock Llama, small FFN, tied embeddings."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=INNER, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0}, rms_norm_eps=1e-5, initializer_range=0.02,
        bos_token_id=None, eos_token_id=1, pad_token_id=0, attention_dropout=0.0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def base_mixture(maker: ExampleMaker, tokenizer: Any) -> Mixture:
    """What the base model reads: every stage on general and tuned servers, drills, and a little plain text."""
    general = maker.corpus.general
    tuned = list(maker.corpus.tuned)
    texts = maker.corpus.texts

    def text(rng: random.Random) -> list[int]:
        return list(tokenizer.encode(" " + rng.choice(texts)[:2400], add_special_tokens=False))

    return Mixture(
        (
            (1.0, lambda rng: maker.route(rng, general, general)),
            (1.6, lambda rng: maker.route(rng, tuned, tuned + general)),
            (0.6, maker.route_catalogue),
            (2.0, lambda rng: maker.select(rng, general)),
            (3.0, lambda rng: maker.select(rng, tuned, rename=0.15)),
            (1.2, maker.select_catalogue),
            (0.6, maker.select_public),
            (1.6, lambda rng: maker.arguments(rng, general)),
            (2.4, lambda rng: maker.arguments(rng, tuned, rename=0.15)),
            (1.2, maker.arguments_drill),
            (0.4, maker.arguments_public),
            (0.2, text),
        )
    )


def held_out_rows(maker: ExampleMaker, pad: int, servers: Sequence[str]) -> dict[str, list[Row]]:
    """Fixed rows per stage on servers that are never trained on, without renaming or noise of names."""
    general = [name for name in maker.corpus.general if name not in servers]
    kinds: dict[str, Make] = {
        "route": lambda rng: maker.route(rng, servers, general),
        "select": lambda rng: maker.select(rng, servers, rename=0.0),
        "arguments": lambda rng: maker.arguments(rng, servers, rename=0.0),
    }
    made = {}
    for kind, make in kinds.items():
        source = stream(make, f"held-out/{kind}", 0, ROW_LENGTH, pad, 0.0)
        made[kind] = [next(source) for _ in range(HELD_OUT_ROWS)]
    return made


def train_nano(
    data: Path, runs: Path, output: Path, *, minutes: float | None = None, encoder: Path | None = None, say: Say = print
) -> None:
    """Make everything: `runs` keeps checkpoints and logs, `output` gets the base model and its adapters.

    `minutes` bounds the wall-clock time of the base model; the adapters take about half as long again.

    Raises:
        TrainingError: a data file is missing or broken.
    """
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
    trainer = AdapterTrainer(output, corpus, runs, output, pick_device())
    for job in jobs(corpus):
        start = output / job.stage if job.tool else None
        manifest = trainer.train(job, start)
        if manifest is not None:
            say(f"{job.name}: {manifest.scores.before} -> {manifest.scores.after}")
    for stage in ("route", "select"):
        say(f"{stage}: temperature {trainer.calibrate(Job(stage, SELECT)):.2f}")


def jobs(corpus: Corpus) -> list[Job]:
    """The adapters to train, generic ones first."""
    filesystem = corpus.servers["filesystem"]
    generic = [Job("select", SELECT), Job("route", ROUTE), Job("arguments", ARGUMENTS)]
    own = [
        Job("arguments", TOOL, "filesystem", tool.name, tool.fingerprint)
        for tool in filesystem.tools
        if tool.input_schema.get("properties")
    ]
    return generic + own


def train_base(
    corpus: Corpus,
    tokenizer_folder: Path,
    runs: Path,
    *,
    plan: Plan = BASE,
    encoder: Path | None = None,
    name: str = "base",
) -> Path:
    """Pre-train the base model; returns the folder with config, tokenizer and bf16 weights."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    maker = ExampleMaker(Renderer.for_tokenizer(tokenizer), CaseMaker(split(corpus, held_out=False)))
    model = build_model()
    prepare(model, tokenizer, encoder)
    mixture = base_mixture(maker, tokenizer)

    def rows(start: int) -> Iterator[Row]:
        return stream(mixture, SEED, start, ROW_LENGTH, tokenizer.pad_token_id, PROMPT_WEIGHT)

    trainer = Trainer(model, plan, runs / name, device=pick_device())
    trainer.run(rows, held_out_rows(maker, tokenizer.pad_token_id, corpus.dev))
    folder = runs / name / "model"
    model.to("cpu", torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def pick_device() -> torch.device:
    """A GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
