"""The engine on a transformers model: tokens + adapter + mask -> tokens and scores.

Owns the forward passes. Refuses to own: what prompts, options and grammars mean. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from typing import Any

import torch
from transformers import DynamicCache

from mcp_dualtune.engine.base import Completion, GenerationRequest, Ranking, RankRequest, Tokens
from mcp_dualtune.engine.grammar import GrammarCompiler, Matcher
from mcp_dualtune.engine.load import LoadedModel
from mcp_dualtune.engine.lora import BASE, AdapterStack
from mcp_dualtune.engine.option_tree import OptionTree, split
from mcp_dualtune.engine.prefix_cache import PrefixCache, branch
from mcp_dualtune.engine.threads import Threads
from mcp_dualtune.errors import Cancelled, EngineError, PromptTooLong

PREFILL_TOKENS = 512
"""Prompt tokens per forward pass: what a cancelled request may still cost."""
PACKED_TOKENS = 2048
"""Option tokens per forward pass."""
NEAR = 0.05
"""Relative difference of log-probabilities that rounding to bf16 or int8 explains."""
WORTH_KEEPING = 64
"""Prompt tokens beyond the stable start from which on the whole prompt is kept: fewer cost next to nothing again."""


@dataclass
class _Run:
    """One request on its way: the cache that grows with it."""

    identity: str
    prompt: Tokens
    stable: int
    cache: Any
    cached: int
    """Prompt tokens that came from the prefix cache."""
    cancel: Event | None

    @property
    def seen(self) -> int:
        """How many tokens of prompt and answer the cache holds."""
        return int(self.cache.get_seq_length())

    def check(self) -> None:
        """Stop when the caller went away."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("The request was cancelled.")


class HFEngine:
    """Any transformers causal language model as an `Engine`."""

    def __init__(self, loaded: LoadedModel, cache_megabytes: float = 256, adapter_megabytes: float = 256) -> None:
        self.digest = loaded.digest
        self.tokenizer = loaded.tokenizer
        self.context_length = loaded.context_length
        self.adapters = AdapterStack(loaded.model, adapter_megabytes)
        self.prefixes = PrefixCache(cache_megabytes)
        self.model = loaded.model
        self._ends = _end_tokens(loaded)
        self._words = len(loaded.tokenizer)
        self._grammars = GrammarCompiler(loaded.tokenizer, self._ends)
        self._threads = Threads(loaded.model, loaded.threads)
        self.packs_options = self._can_pack()
        """Whether all options go through the model in one masked pass; else they are scored as a batch."""

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        """Score all options exactly; see `Engine.rank`."""
        started = perf_counter()
        if not request.options or not all(request.options):
            raise EngineError("There is an empty option, or none.", hint="Offer at least one option with tokens.")
        self._check_room(request.prompt, max(map(len, request.options)))
        score = self._score_packed if self.packs_options else self._score_batch
        scores: list[float] = []
        with torch.inference_mode():
            run = self._start(request, cancel)
            for group in split(request.options, PACKED_TOKENS):
                run.check()
                scores += score(run, group)
            self._keep(run)
        normal = torch.log_softmax(torch.tensor(scores, dtype=torch.float64), dim=0).tolist()
        return Ranking(tuple(normal), run.cached, _since(started))

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """Decode greedily; see `Engine.generate`."""
        started = perf_counter()
        self._check_room(request.prompt, 1)
        room = min(request.max_tokens, self.context_length - len(request.prompt))
        matcher = None if request.grammar is None else self._grammars.matcher(request.grammar)
        tokens: list[int] = []
        probabilities: list[float] = []
        calls, complete = 0, False
        with torch.inference_mode():
            run = self._start(request, cancel)
            while True:
                if matcher is not None:
                    forced = [token for token in matcher.forced() if token not in self._ends]
                    matcher.commit(forced[: room - len(tokens)])
                    tokens += forced[: room - len(tokens)]
                    complete = matcher.is_complete
                if complete or len(tokens) >= room:
                    break
                logits = self._advance(run, (*request.prompt, *tokens))
                calls += 1
                token, probability = self._choose(logits, matcher)
                probabilities.append(probability)
                if complete := token in self._ends:
                    break
                if matcher is not None:
                    matcher.commit([token])
                tokens.append(token)
            self._keep(run)
        text = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Completion(tuple(tokens), text, tuple(probabilities), complete, run.cached, calls, _since(started))

    def _check_room(self, prompt: Tokens, answer: int) -> None:
        if not prompt:
            raise EngineError("The prompt is empty.", hint="A prompt needs at least one token.")
        if len(prompt) + answer > self.context_length:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens and the answer needs {answer}; the model reads "
                f"{self.context_length}.",
                hint="Offer fewer tools, shorten the request, or use a model with a longer context.",
            )

    def _start(self, request: RankRequest | GenerationRequest, cancel: Event | None) -> _Run:
        if cancel is not None and cancel.is_set():
            raise Cancelled("The request was cancelled.")
        identity = self.adapters.use(request.adapter)
        # The last prompt token is always fed: its logits are what the answer starts from.
        cache, cached = self.prefixes.lookup(identity, request.prompt, len(request.prompt) - 1)
        return _Run(identity, request.prompt, min(request.stable, len(request.prompt)), cache, cached, cancel)

    def _keep(self, run: _Run) -> None:
        """Store what is worth keeping of a finished prompt; a cancelled one never comes here."""
        if run.seen < len(run.prompt):
            return
        self.prefixes.store(run.identity, run.prompt[: run.stable], run.cache, stable=True)
        if len(run.prompt) - max(run.stable, run.cached) >= WORTH_KEEPING:
            self.prefixes.store(run.identity, run.prompt, run.cache, stable=False)

    def _advance(self, run: _Run, sequence: Tokens) -> Any:
        """Feed what the cache has not seen of `sequence`; logits [vocabulary] after its last token, None if all was."""
        logits = None
        while (seen := run.seen) < len(sequence):
            run.check()
            logits = self._forward(run.cache, [sequence[seen : seen + PREFILL_TOKENS]], 1)[0, -1]
        return logits

    def _choose(self, logits: Any, matcher: Matcher | None) -> tuple[int, float]:
        """The likeliest allowed token and its probability among the allowed ones."""
        if matcher is None:
            # Rows beyond the tokenizer's words are padding of the weights.
            ids = None
            weights = logits[: self._words].float()
        else:
            ids = matcher.allowed()
            weights = logits[torch.from_numpy(ids).to(logits.device)].float()
        index = int(weights.argmax())
        probability = float(torch.softmax(weights, dim=0)[index])
        return (index if ids is None else int(ids[index])), probability

    def _score_packed(self, run: _Run, options: Sequence[Tokens]) -> list[float]:
        """Scores from one pass: the rest of the prompt, then all options as a tree."""
        prompt = run.prompt
        self._advance(run, prompt[: max(len(prompt) - PREFILL_TOKENS, 0)])
        past = min(run.seen, len(prompt) - 1)
        cache = branch(run.cache, past)
        tree = OptionTree(options)
        positions = [*range(past, len(prompt)), *(len(prompt) + depth for depth in tree.depths)]
        mask = tree.mask(past, len(prompt) - past, self.model.dtype, self.model.device) if len(tree) else None
        logits = self._forward(cache, [(*prompt[past:], *tree.tokens)], 1 + len(tree), positions, mask)
        # Behind the prompt this cache holds the options: cut them off.
        run.cache = branch(cache, len(prompt))
        return tree.scores(logits[0])

    def _score_batch(self, run: _Run, options: Sequence[Tokens]) -> list[float]:
        """Scores with each option in its own row: for models that cannot see options as a tree."""
        prompt = run.prompt
        self._advance(run, prompt[:-1])
        cache = branch(run.cache, len(prompt) - 1)
        cache.batch_repeat_interleave(len(options))
        width = max(map(len, options))
        # Padding stands right of an option, where causal attention never looks.
        rows = [(prompt[-1], *option[:-1], *[0] * (width - len(option))) for option in options]
        log_probabilities = torch.log_softmax(self._forward(cache, rows, width).float(), dim=-1)
        run.cache = branch(cache, len(prompt))
        return [
            float(log_probabilities[row, range(len(option)), list(option)].double().sum())
            for row, option in enumerate(options)
        ]

    def _forward(
        self,
        cache: Any,
        rows: Sequence[Sequence[int]],
        keep: int,
        positions: Sequence[int] | None = None,
        mask: Any = None,
    ) -> Any:
        """Logits [rows, keep, vocabulary] of the last `keep` tokens; the cache grows by the tokens."""
        device = self.model.device
        self._threads.set(len(rows) * len(rows[0]))
        extra: dict[str, Any] = {} if mask is None else {"attention_mask": mask}
        if positions is not None:
            extra["position_ids"] = torch.tensor([positions], device=device)
        ids = torch.tensor([list(row) for row in rows], device=device)
        return self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=keep, **extra).logits

    def _can_pack(self) -> bool:
        """Try on a few tokens whether this model keeps the branches of a tree apart and counts positions as told."""
        config = self.model.config.get_text_config(decoder=True)
        if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
            # A mask of ours would replace the window.
            return False
        prompt, options = (1, 2, 3), ((4, 5, 6), (4, 7, 8), (9, 10, 11))
        tree = OptionTree(options)
        chain = OptionTree([(*tree.tokens, 0)])
        tokens = (*prompt, *tree.tokens)
        positions = [*range(len(prompt)), *(len(prompt) + depth for depth in tree.depths)]
        masks = [each.mask(0, len(prompt), self.model.dtype, self.model.device) for each in (tree, chain)]
        with torch.inference_mode():
            alone = self._score_batch(_Run(BASE, prompt, 0, DynamicCache(), 0, None), options)
            try:
                apart, together = (self._forward(DynamicCache(), [tokens], 1 + len(tree), positions, m) for m in masks)
            # However a model refuses the mask, its options go in a batch.
            except (IndexError, RuntimeError, TypeError, ValueError):
                return False
        packed = tree.scores(apart[0])
        near = all(abs(one - other) <= NEAR * abs(other) for one, other in zip(packed, alone, strict=True))
        # The same tokens under two masks: equal to the last bit means that the mask is not looked at.
        return near and not torch.equal(apart, together)


def _since(started: float) -> float:
    return (perf_counter() - started) * 1000


def _end_tokens(loaded: LoadedModel) -> tuple[int, ...]:
    """Every token that ends an answer: the tokenizer's and those of the generation config."""
    more = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None) or []
    known = [loaded.tokenizer.eos_token_id, *(more if isinstance(more, list) else [more])]
    return tuple(dict.fromkeys(known))
