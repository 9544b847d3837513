"""What the three stages share: the parts they run on, and one ranked choice.

Owns the way from a choice prompt to a stage record, and how prompts are made to fit the model's context. What is
offered belongs to the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from time import perf_counter

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.shortlist import shortlist
from mcp_dualtune.engine.base import Engine, RankRequest
from mcp_dualtune.errors import Cancelled, PromptTooLong
from mcp_dualtune.pipeline.confidence import ALTERNATIVES, adapter_name, calibrate, ranked
from mcp_dualtune.pipeline.exemplars import Exemplars
from mcp_dualtune.prompting import ChoicePrompt, Renderer
from mcp_dualtune.security.untrusted import clip
from mcp_dualtune.types import AdapterRef, HistoryItem, Request, ServerSpec, Stage, StageRecord

HISTORY_FLOOR = 200
"""Characters of one earlier result that are kept even when the prompt is tight."""


@dataclass(frozen=True)
class Seat:
    """One model with its prompts, its adapters, and the requests that it may compare others with."""

    engine: Engine
    renderer: Renderer
    adapters: AdapterStore
    exemplars: Exemplars = field(default_factory=Exemplars)

    @classmethod
    def of(cls, engine: Engine, adapters: AdapterStore, exemplars: Exemplars | None = None) -> Seat:
        """With the prompts that fit the engine's tokenizer.

        Raises:
            EngineError: the model's tokenizer has no template we can prompt it with.
        """
        return cls(
            engine, Renderer.for_tokenizer(engine.tokenizer), adapters, Exemplars() if exemplars is None else exemplars
        )


@dataclass(frozen=True)
class Parts:
    """What a stage runs on: the model that sits in it, and the caller's wish to stop."""

    seat: Seat
    cancel: Event

    def check(self) -> None:
        """Stop here when the caller went away.

        Raises:
            Cancelled: it did.
        """
        if self.cancel.is_set():
            raise Cancelled("The request was cancelled.")


@dataclass(frozen=True)
class Choice:
    """The record of a choice and all its options, best first."""

    record: StageRecord
    options: tuple[tuple[str, float], ...]

    def of(self, option: str) -> StageRecord:
        """The record where another option than the likeliest is chosen."""
        others = tuple(other for other in self.options if other[0] != option)[:ALTERNATIVES]
        return replace(self.record, choice=option, probability=dict(self.options)[option], alternatives=others)


def choose(parts: Parts, stage: Stage, prompt: ChoicePrompt, adapter: AdapterRef | None) -> Choice:
    """Rank the options of `prompt` under `adapter`.

    Raises:
        PromptTooLong, AdapterError, Cancelled: as `Engine.rank`.
    """
    parts.check()
    started = perf_counter()
    asked = RankRequest(prompt.tokens, prompt.option_tokens, adapter, prompt.stable, prompt.exemplars)
    ranking = parts.seat.engine.rank(asked, parts.cancel)
    options = ranked(prompt.options, calibrate(ranking.log_probabilities, adapter))
    (name, probability), others = options[0], options[1 : 1 + ALTERNATIVES]
    elapsed = (perf_counter() - started) * 1000
    record = StageRecord(stage, name, probability, tuple(others), adapter_name(adapter), elapsed)
    return Choice(record, tuple(options))


def fitting(
    parts: Parts,
    request: Request,
    servers: Sequence[ServerSpec],
    render: Callable[[Request, Sequence[ServerSpec]], ChoicePrompt],
) -> ChoicePrompt:
    """Render a choice among `servers` that fits the model: earlier results are cut first, then unlikely tools.

    Raises:
        PromptTooLong: not even the likeliest tool fits beside the request.
    """
    room = parts.seat.engine.context_length
    offered = tuple(servers)
    prompt = render(request, offered)
    while _length(prompt) > room:
        parts.check()
        shorter = shorten_history(request)
        tools = sum(len(server.tools) for server in offered)
        if shorter is not None:
            request = shorter
        elif tools > 1:
            # The length is roughly proportional to the tools shown; aim a little below and look again.
            budget = min(tools - 1, max(1, int(tools * room / _length(prompt) * 0.9)))
            offered = shortlist(request.text, servers, budget)
        else:
            raise too_long(parts)
        prompt = render(request, offered)
    return prompt


def shorten_history(request: Request) -> Request | None:
    """`request` with every long earlier result cut to half, or None when they are all short."""
    if all(len(item.result) <= HISTORY_FLOOR for item in request.history):
        return None
    history = tuple(
        HistoryItem(item.call, clip(item.result, max(HISTORY_FLOOR, len(item.result) // 2))) for item in request.history
    )
    return replace(request, history=history)


def too_long(parts: Parts, what: str = "The request does") -> PromptTooLong:
    """The error for a prompt that cannot be cut any further; `what` says what does not fit."""
    return PromptTooLong(
        f"{what} not fit the model's context of {parts.seat.engine.context_length} tokens.",
        hint="Say it in fewer words, or configure a model with a longer context.",
    )


def _length(prompt: ChoicePrompt) -> int:
    return len(prompt.tokens) + max(len(option) for option in prompt.option_tokens)
