"""Where training starts: word meaning from a public encoder, and heads that already copy.

A model of this size sees too few tokens to discover both by itself. Nothing here is frozen; training goes on from it.

- *Embeddings* are large (EMBEDDING_SIZE) and the output projections zero, so that token identity dominates the residual
  stream at first and the optimiser's steps do not wash out what the encoder knows.
- *Copying* is an induction circuit (Olsson et al. 2022, arXiv 2209.11895) written into a few heads: heads of the first
  layer look at the previous token by position, heads of a later layer look for places whose previous token is the
  current one and write the token found there into the output.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

EMBEDDING_SIZE = 0.2
"""Standard deviation of the token embeddings."""
LOGIT_SIZE = 0.6
"""Standard deviation of the untrained logits, kept small by the final norm."""
CONSTANT = 0
"""A residual dimension that is equal for all tokens: the heads' bias."""
PREVIOUS_LAYER, PREVIOUS_HEADS = 0, (0, 1)
COPY_LAYER, COPY_HEADS = 2, (0, 1, 2, 3)
COPY_GAIN = 0.8
"""How strongly a found token is written; enough to win over the current token, which tied embeddings favour."""
FAST_PAIRS = 10
"""Rotary pairs that turn fast enough to tell neighbouring positions apart."""
SLOW = 1 / 500
"""Rotary frequencies below this hardly turn over a prompt, so they can carry content."""


@torch.no_grad()  # type: ignore[untyped-decorator]
def prepare(model: Any, tokenizer: Any, encoder: Path | None, seed: int = 0) -> float:
    """Set the start weights of an untrained Llama in place; returns the share of tokens with encoder embeddings."""
    generator = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    table = model.get_input_embeddings().weight
    table.copy_(torch.randn(table.shape, generator=generator) * EMBEDDING_SIZE)
    covered = _meanings(table, tokenizer, encoder, generator) if encoder else 0.0
    table[:, CONSTANT] = EMBEDDING_SIZE
    model.model.norm.weight.fill_(LOGIT_SIZE / (EMBEDDING_SIZE * math.sqrt(width)))
    _copying(model, generator)
    return covered


def _meanings(table: torch.Tensor, tokenizer: Any, encoder: Path, generator: torch.Generator) -> float:
    """Give each token the mean of the encoder's word pieces for its text."""
    pieces = AutoTokenizer.from_pretrained(encoder)
    words = AutoModel.from_pretrained(encoder).get_input_embeddings().weight.detach().float()
    words = words - words.mean(0)
    words = words / words.std() * EMBEDDING_SIZE
    covered = 0
    for token in range(tokenizer.vocab_size):
        text = tokenizer.decode([token]).strip()
        ids = pieces.encode(text, add_special_tokens=False) if text and "\ufffd" not in text else []
        ids = [i for i in ids if i != pieces.unk_token_id]
        if ids:
            meaning = words[ids].mean(0)
            # ` the`, `the` and `The` mean the same; a share of their random start keeps them apart.
            table[token] = 0.85 * meaning * (EMBEDDING_SIZE / meaning.std()) + 0.5 * table[token]
            covered += 1
    return covered / tokenizer.vocab_size


def _copying(model: Any, generator: torch.Generator) -> None:
    """Write the induction circuit."""
    config = model.config
    width, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    theta = config.rope_parameters["rope_theta"]
    frequencies = theta ** (-torch.arange(0, size, 2) / size)
    slow = [pair for pair, frequency in enumerate(frequencies.tolist()) if frequency < SLOW]
    content = torch.tensor(slow + [pair + size // 2 for pair in slow])

    def directions(count: int) -> torch.Tensor:
        """[count, width] orthonormal rows without the constant dimension."""
        basis = torch.linalg.qr(torch.randn(width - 1, count, generator=generator))[0].T
        return torch.nn.functional.pad(basis, (1, 0))

    previous = model.model.layers[PREVIOUS_LAYER].self_attn
    copy = model.model.layers[COPY_LAYER].self_attn
    written = directions(len(PREVIOUS_HEADS) * size)
    read = directions(len(PREVIOUS_HEADS) * size)
    for number, head in enumerate(PREVIOUS_HEADS):
        rows = slice(head * size, (head + 1) * size)
        previous.q_proj.weight[rows] = 0
        previous.k_proj.weight[rows] = 0
        for pair in range(FAST_PAIRS):
            turn = float(frequencies[pair])
            # Rotated by one position, so that query and key agree where the key stands one place before.
            previous.q_proj.weight[head * size + pair, CONSTANT] = 9 * math.cos(-turn)
            previous.q_proj.weight[head * size + pair + size // 2, CONSTANT] = 9 * math.sin(-turn)
            previous.k_proj.weight[head * size + pair, CONSTANT] = 9
        part = slice(number * size, (number + 1) * size)
        previous.v_proj.weight[rows] = read[part]
        previous.o_proj.weight[:, rows] = 0.25 * written[part].T
    for number, head in enumerate(COPY_HEADS):
        rows = slice(head * size, (head + 1) * size)
        copy.q_proj.weight[rows] = 0
        copy.k_proj.weight[rows] = 0
        start = number * len(content) % (len(PREVIOUS_HEADS) * size - len(content) + 1)
        part = slice(start, start + len(content))
        copy.q_proj.weight[head * size + content] = 1.8 * read[part]
        copy.k_proj.weight[head * size + content] = 1.8 * written[part]
        out = directions(size)
        copy.v_proj.weight[rows] = out
        copy.o_proj.weight[:, rows] = COPY_GAIN * out.T
