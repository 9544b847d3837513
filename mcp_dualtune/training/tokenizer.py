"""The embedded model's vocabulary: a byte-level BPE trained on the corpus.

Words are cut so that the same value has the same tokens wherever it stands: every digit and every punctuation mark is
a token of its own, camelCase and snake_case fall apart into words, and one space belongs to the word that follows it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mcp_dualtune.prompting.schema_text import one_line, type_text
from mcp_dualtune.prompting.templates.compact import END, SPECIAL_TOKENS
from mcp_dualtune.training.records import fill
from mcp_dualtune.training.sources import Corpus

VOCABULARY = 8192
WORDS = (
    r" ?\p{Lu}?[\p{Ll}\p{M}]+| ?\p{Lu}+(?!\p{Ll})| ?\p{Lu}| ?[\p{Lo}\p{Lm}\p{Lt}]+"  # words
    r"| ?\p{N}| ?[^\s\p{L}\p{N}]"  # one digit, one mark
    r"|\s+(?!\S)|\s+"
)


def train_tokenizer(corpus: Corpus, folder: Path, context: int, seed: int = 0) -> None:
    """Train the vocabulary and save it as a Hugging Face fast tokenizer in `folder`."""
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(corpus, random.Random(seed)), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=SPECIAL_TOKENS[0],
        additional_special_tokens=[token for token in SPECIAL_TOKENS[1:] if token != END],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)


def _texts(corpus: Corpus, rng: random.Random) -> Iterator[str]:
    for server in itertools.chain(corpus.servers.values(), corpus.catalogue):
        yield f" {server.name}: {one_line(server.description)}"
        for tool in server.tools[:20]:
            yield f" {tool.name}: {one_line(tool.description)[:300]}"
            for name, part in (tool.input_schema.get("properties") or {}).items():
                yield f" {name}: {type_text(part)}"
    for entries in corpus.entries.values():
        for entry in entries:
            for template in entry.requests:
                yield " " + fill(template, rng)[0]
    for case in rng.sample(corpus.calls, min(len(corpus.calls), 30_000)):
        yield " " + case.query
    for text in rng.sample(corpus.texts, min(len(corpus.texts), 9000)):
        yield text[:1500]
