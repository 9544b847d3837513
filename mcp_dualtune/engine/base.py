"""What an engine is: ranks fixed options, points at values, or generates under a grammar, each under one adapter.

An engine knows token ids and adapters. It knows nothing of tools, servers or JSON: `prompting` owns those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from mcp_dualtune.types import AdapterRef

Tokens = tuple[int, ...]

LIKELIEST = 8
"""Likeliest first tokens of a value, and last tokens for each of them, that are put together."""


@dataclass(frozen=True)
class RankRequest:
    """Score every option as the continuation of one prompt."""

    prompt: Tokens
    options: tuple[Tokens, ...]
    """Each option's full token ids, end-of-answer token included, so that no option is a prefix of another."""
    adapter: AdapterRef | None = None
    stable: int = 0
    """How many leading prompt tokens stay equal between requests (tool lists): what the prefix cache should keep."""
    exemplars: tuple[Tokens, ...] = ()
    """For each option, or none at all: earlier requests for which it was right. Only engines that compare read them."""


@dataclass(frozen=True)
class Ranking:
    """Exact scores of all options."""

    log_probabilities: tuple[float, ...]
    """Per option, natural log of its probability among the options (they sum to 1 after exp). Not yet calibrated."""
    cached_tokens: int
    """Prompt tokens whose keys and values came from the cache."""
    ms: float


@dataclass(frozen=True)
class GenerationRequest:
    """Decode greedily under a grammar until it is complete."""

    prompt: Tokens
    grammar: str | None
    """llguidance Lark text; None decodes freely until the end token."""
    adapter: AdapterRef | None = None
    stable: int = 0
    max_tokens: int = 512
    json_schema: Any = None
    """The same answers as a JSON Schema, for engines that cannot read `grammar`; None where none says the same."""


@dataclass(frozen=True)
class Completion:
    """What was generated."""

    tokens: Tokens
    """Generated ids without the end token."""
    text: str
    """`tokens` decoded, special tokens kept as their text."""
    probabilities: tuple[float, ...]
    """Probability of each token that the model really chose (forced tokens are left out), after masking."""
    complete: bool
    """False when `max_tokens` ended it first: the text may be cut."""
    cached_tokens: int
    model_calls: int
    ms: float


class Pointable(Protocol):
    """A page that an encoder can point at."""

    @property
    def tokens(self) -> Tokens:
        """All of it."""
        ...

    @property
    def marks(self) -> tuple[int, ...]:
        """The token that stands for each slot."""
        ...

    def begins(self, slot: int) -> Sequence[bool]:
        """By token: whether a value of `slot` may begin there."""
        ...

    def finishes(self, slot: int) -> Sequence[bool]:
        """By token: whether a value of `slot` may end there."""
        ...


@dataclass(frozen=True)
class PointRequest:
    """Say of every slot of some pages whether and where its values stand."""

    pages: Sequence[Pointable]
    adapter: AdapterRef


@dataclass(frozen=True)
class Pointers:
    """What an encoder says of one page; rows are slots."""

    states: list[list[float]]
    """[S, 3]: probability of absent, given, elsewhere."""
    starts: list[list[float]]
    """[S, T]: natural log of the probability that the value begins at a token."""
    ends: list[dict[int, list[float]]]
    """[S]: for its likeliest first tokens, [T]: the same for where a value ends that begins there."""
    begun: list[list[float]]
    """[S, T]: probability that one of several values begins at a token."""


@dataclass(frozen=True)
class Comparison:
    """How like a text and a passage are."""

    closeness: float
    """Natural log of how readily they belong together, up to a sum that is the same for all passages."""
    tokens: tuple[float, ...]
    """For every token of the text but the first and the last: its cosine to the most like token of the passage."""


class PointingEngine(Protocol):
    """An encoder that can also point at values, and compare texts."""

    def point(self, request: PointRequest, cancel: Event | None = None) -> list[Pointers]:
        """Read all pages.

        Raises:
            PromptTooLong: a page is longer than the model can read.
            AdapterError: the adapter cannot be loaded on this base.
            Cancelled: `cancel` was set.
        """
        ...

    def compare(self, text: Tokens, passages: Sequence[Tokens], cancel: Event | None = None) -> list[Comparison]:
        """Compare a text to each passage without an adapter; all begin and end with a special token.

        Raises:
            PromptTooLong: one is longer than the model can read.
            Cancelled: `cancel` was set.
        """
        ...


class Engine(Protocol):
    """One base model with switchable adapters. Not thread-safe: `worker.EngineWorker` is its only caller in serving."""

    @property
    def digest(self) -> str:
        """sha256 hex that identifies the base weights; adapters name it in their manifests."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face fast tokenizer of the base model."""
        ...

    @property
    def context_length(self) -> int:
        """Longest prompt plus answer, in tokens."""
        ...

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        """Score all options.

        Raises:
            PromptTooLong: prompt plus longest option exceed `context_length`.
            AdapterError: the adapter cannot be loaded on this base.
            Cancelled: `cancel` was set.
        """
        ...

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """Decode greedily; the grammar can never be left.

        Raises:
            GrammarError: the grammar text is invalid or allows no token.
            PromptTooLong: the prompt leaves no room for an answer.
            AdapterError: the adapter cannot be loaded on this base.
            Cancelled: `cancel` was set between two model calls.
        """
        ...
