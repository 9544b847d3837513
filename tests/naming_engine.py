"""An engine whose answers a test states by name, and tools in wire spelling for it to choose from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import Completion, GenerationRequest, Ranking, RankRequest
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.prompting.templates.compact import SPECIAL_TOKENS
from mcp_dualtune.types import JSON, AdapterRef


def byte_tokenizer() -> Any:
    """A tokenizer for the compact template whose words are single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: index for index, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return fast


def alone(engine: Any) -> Callable[[], Pipeline]:
    """Makes the pipeline in which `engine` sits in every stage, without any adapter."""
    return lambda: Pipeline.for_engine(engine, AdapterStore((), engine.digest))


class NamingEngine:
    """Ranks options by the probabilities a test names, and generates the texts it gives; remembers every prompt."""

    digest = "0" * 64

    def __init__(self, tokenizer: Any, context_length: int = 4096) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.choices: list[Mapping[str, float]] = []
        """One for each `rank` to come; options not named share what is left of 1."""
        self.answers: list[str] = []
        """One for each `generate` to come."""
        self.token_probabilities: tuple[float, ...] = (1.0,)
        self.complete = True
        self.prompts: list[str] = []
        self.offered: list[list[str]] = []
        self.adapters: list[AdapterRef | None] = []
        self.grammars: list[str | None] = []

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        names = [self._name(option) for option in request.options]
        self.prompts.append(self.tokenizer.decode(request.prompt))
        self.adapters.append(request.adapter)
        self.offered.append(names)
        assert len(request.prompt) + max(map(len, request.options)) <= self.context_length
        chances = self.choices.pop(0)
        assert set(chances) <= set(names), f"{set(chances)} are not all offered: {names}"
        rest = max(1.0 - sum(chances.values()), 0.0) / max(len(names) - len(chances), 1)
        return Ranking(tuple(math.log(max(chances.get(name, rest), 1e-9)) for name in names), 0, 0.1)

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        self.prompts.append(self.tokenizer.decode(request.prompt))
        self.adapters.append(request.adapter)
        self.grammars.append(request.grammar)
        assert len(request.prompt) + request.max_tokens <= self.context_length
        return Completion((1,), self.answers.pop(0), self.token_probabilities, self.complete, 0, 1, 0.1)

    def _name(self, option: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(option[:-1])).removeprefix("<|").removesuffix("|>")


def tool(
    name: str, required: tuple[str, ...] = (), annotations: Mapping[str, JSON] | None = None, **properties: JSON
) -> JSON:
    """A tool in wire spelling."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": f"It does {name}.", "inputSchema": schema, "annotations": annotations or {}}
