"""An engine that replays given answers, for tests and examples where the model's answer is not the point.

Owns the replay and a trivial tokenizer. It has no model, so it refuses to judge anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from threading import Event
from typing import Any

from mcp_dualtune.engine.base import Completion, GenerationRequest, Ranking, RankRequest
from mcp_dualtune.errors import Cancelled, EngineError

SURE = 0.97
"""Probability that a scripted choice gets; the rest is shared by the other options."""


class CharacterTokenizer:
    """One token per character: its code point."""

    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Code points of `text`."""
        return [ord(character) for character in text]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of code points; the end token is nothing."""
        return "".join(chr(token) for token in tokens if token)


class ScriptedEngine:
    """Answers `rank` with option indexes and `generate` with texts, in the order given."""

    digest = "5c" * 32

    def __init__(self, answers: Iterable[int | str], tokenizer: Any = None, context_length: int = 100_000) -> None:
        self.tokenizer = tokenizer or CharacterTokenizer()
        self.context_length = context_length
        self.requests: list[RankRequest | GenerationRequest] = []
        """What was asked, in order."""
        self._answers = list(answers)

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        """Give the next answer's option SURE.

        Raises:
            EngineError: the next answer is not the index of an option.
            Cancelled: `cancel` was set.
        """
        answer = self._next(request, cancel)
        count = len(request.options)
        if not isinstance(answer, int) or not 0 <= answer < count:
            raise EngineError(f"{count} options were ranked, but the script says {answer!r}.", hint="Fix the script.")
        rest = (1 - SURE) / max(count - 1, 1)
        chosen = SURE if count > 1 else 1.0
        return Ranking(tuple(math.log(chosen if index == answer else rest) for index in range(count)), 0, 0.0)

    def generate(self, request: GenerationRequest, cancel: Event | None = None) -> Completion:
        """Give the next answer's text.

        Raises:
            EngineError: the next answer is not a text.
            Cancelled: `cancel` was set.
        """
        answer = self._next(request, cancel)
        if not isinstance(answer, str):
            raise EngineError(f"A text was asked for, but the script says {answer!r}.", hint="Fix the script.")
        tokens = tuple(self.tokenizer.encode(answer, add_special_tokens=False))
        return Completion(tokens, answer, (SURE,), True, 0, 1, 0.0)

    def _next(self, request: RankRequest | GenerationRequest, cancel: Event | None) -> int | str:
        if cancel is not None and cancel.is_set():
            raise Cancelled("The request was cancelled.")
        if not self._answers:
            raise EngineError("The script has no answers left.", hint="Give the scripted engine more answers.")
        self.requests.append(request)
        return self._answers.pop(0)
