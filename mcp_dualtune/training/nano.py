"""Makes the embedded model: vocabulary, base model, adapters, each stage resumable and skipped when it is done.

    python -m mcp_dualtune.cli.main train nano --data DIR --servers DIR [--stage tokenizer|base|adapters]

Owns the recipe: sizes, mixtures, schedules. The numbers were chosen by the experiments in docs/LOG.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.examples import Example, ExampleMaker
from mcp_dualtune.training.loop import Plan, Trainer
from mcp_dualtune.training.packing import PROMPT_WEIGHT, Row, stream
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.training.tokenizer import VOCABULARY

ROW_LENGTH = 768
CONTEXT = 4096
WIDTH, LAYERS, HEADS, INNER = 384, 6, 6, 512
HELD_OUT_ROWS = 24
BASE = Plan(steps=6000, rows=8)
SEED = "nano-1"

Make = Callable[[random.Random], Any]


@dataclass(frozen=True)
class Mixture:
    """Kinds of examples with their shares (of groups, not tokens)."""

    parts: tuple[tuple[float, Make], ...]

    def __call__(self, rng: random.Random) -> Any:
        """One group."""
        total = sum(share for share, _ in self.parts)
        at = rng.random() * total
        for share, make in self.parts:
            at -= share
            if at <= 0:
                return make(rng)
        return self.parts[-1][1](rng)


def build_model() -> Any:
    """The untrained embedded model: a stock Llama, small FFN, tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, intermediate_size=INNER, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0}, rms_norm_eps=1e-5, initializer_range=0.02,
        bos_token_id=None, eos_token_id=1, pad_token_id=0, attention_dropout=0.0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def start_embeddings(model: Any, tokenizer: Any, encoder: Path) -> float:
    """Start token embeddings from a public encoder's word embeddings of the same width; returns the share covered.

    Each of our tokens takes the mean of the encoder's word pieces for its text, rescaled to the usual start size.
    """
    from transformers import AutoModel, AutoTokenizer

    pieces = AutoTokenizer.from_pretrained(encoder)
    words = AutoModel.from_pretrained(encoder).get_input_embeddings().weight.detach().float()
    words = words - words.mean(0)
    words = words / words.std() * 0.02
    table = model.get_input_embeddings().weight.data
    covered = 0
    for token in range(tokenizer.vocab_size):
        text = tokenizer.decode([token]).strip()
        ids = pieces.encode(text, add_special_tokens=False) if text and "\ufffd" not in text else []
        ids = [i for i in ids if i != pieces.unk_token_id]
        if ids:
            # A little noise keeps ` the` and `The` apart.
            table[token] = words[ids].mean(0) + 0.005 * torch.randn(WIDTH)
            covered += 1
    return covered / tokenizer.vocab_size


def base_mixture(maker: ExampleMaker, tokenizer: Any) -> Mixture:
    """What the base model reads: every stage on servers that are neither tuned nor held out, and some plain text."""
    general = maker.corpus.general
    texts = maker.corpus.texts

    def text(rng: random.Random) -> list[int]:
        return tokenizer.encode(" " + rng.choice(texts)[:2400], add_special_tokens=False)

    return Mixture(
        (
            (1.2, lambda rng: maker.route(rng, general, general)),
            (0.8, maker.route_catalogue),
            (2.2, lambda rng: maker.select(rng, general)),
            (1.5, maker.select_catalogue),
            (0.8, maker.select_public),
            (2.6, lambda rng: maker.arguments(rng, general)),
            (2.2, maker.arguments_drill),
            (1.2, maker.arguments_public),
            (0.5, text),
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


def train_base(
    corpus: Corpus, tokenizer_folder: Path, runs: Path, *, plan: Plan = BASE, encoder: Path | None = None, name: str = "base"
) -> Path:
    """Pre-train the base model; returns the folder with config, tokenizer and bf16 weights."""
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    maker = ExampleMaker(Renderer.for_tokenizer(tokenizer), CaseMaker(corpus))
    model = build_model()
    if encoder is not None:
        start_embeddings(model, tokenizer, encoder)
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


def with_minutes(plan: Plan, minutes: float) -> Plan:
    """The plan within a wall-clock budget."""
    return replace(plan, minutes=minutes)


__all__ = ["Example", "base_mixture", "build_model", "train_base"]
