"""Lark grammar text -> which tokens may come next, and which must.

Owns compiling, a bounded cache of compiled grammars, and the token masks. Refuses to own: what a grammar says; it is
written by `prompting`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from mcp_dualtune.errors import GrammarError

CACHED_GRAMMARS = 256
HINT = "The tool's schema cannot be decoded as it is; report it with `dualtune tools`, or leave the tool out."


class Matcher:
    """One decode under one grammar: what was committed, and what may follow."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher
        self._check()

    @property
    def is_complete(self) -> bool:
        """Whether the grammar is satisfied and nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def is_accepting(self) -> bool:
        """Whether the text so far is a whole answer, though more may follow."""
        return bool(self._matcher.is_accepting())

    def allowed(self) -> Any:
        """Ids of the tokens that may come next, ascending, int64; the end token is among them where the text may end.

        Raises:
            GrammarError: no token may come next.
        """
        mask = self._matcher.compute_bitmask()
        self._check()
        ids = np.flatnonzero(np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little"))
        if not len(ids):
            raise GrammarError("The grammar allows no further token.", hint=HINT)
        return ids

    def forced(self) -> list[int]:
        """Tokens that must come next, in order; empty where there is a choice."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._check()
        return tokens

    def commit(self, tokens: Sequence[int]) -> None:
        """Append tokens.

        Raises:
            GrammarError: they leave the grammar.
        """
        if not self._matcher.consume_tokens(list(tokens)):
            raise GrammarError(f"Decoding left the grammar: {self._matcher.get_error()}.", hint=HINT)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(f"The grammar cannot be used: {self._matcher.get_error()}.", hint=HINT)


class GrammarCompiler:
    """Compiles grammars for one tokenizer and remembers the latest of them."""

    def __init__(self, tokenizer: Any, end_tokens: Sequence[int] | None = None) -> None:
        """Take a Hugging Face fast tokenizer; `end_tokens` default to its own."""
        self._tokenizer = from_tokenizer(tokenizer, eos_token=list(end_tokens) if end_tokens else None)
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def matcher(self, lark: str) -> Matcher:
        """A fresh matcher for Lark text.

        Raises:
            GrammarError: the text is not a grammar that can be compiled.
        """
        compiled = self._compiled.get(lark)
        if compiled is None:
            compiled = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(lark), log_level=0)
            # A grammar that cannot be used must not be kept: Matcher raises before the next line.
            matcher = Matcher(compiled.deep_copy())
            self._compiled[lark] = compiled
            if len(self._compiled) > CACHED_GRAMMARS:
                self._compiled.popitem(last=False)
            return matcher
        self._compiled.move_to_end(lark)
        return Matcher(compiled.deep_copy())
