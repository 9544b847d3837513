"""Masks and forced tokens of the grammar wrapper."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.engine import grammar
from mcp_dualtune.engine.grammar import GrammarCompiler
from mcp_dualtune.errors import GrammarError
from tests.tiny_models import CHAT_TOKENS, tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def compiler(tokenizer: Any) -> GrammarCompiler:
    return GrammarCompiler(tokenizer)


def test_special_tokens_are_single_steps(compiler: GrammarCompiler, tokenizer: Any) -> None:
    matcher = compiler.matcher('start: "a" ( <|ask|> | <|skip|> )')
    matcher.commit(matcher.forced())
    ask, skip = tokenizer.convert_tokens_to_ids(["<|ask|>", "<|skip|>"])
    assert set(matcher.allowed()) == {ask, skip}
    matcher.commit([skip])
    assert matcher.is_complete


def test_the_end_token_is_allowed_where_the_text_may_end(compiler: GrammarCompiler, tokenizer: Any) -> None:
    matcher = compiler.matcher("start: /[0-9]+/")
    end = tokenizer.eos_token_id
    assert end not in matcher.allowed()
    matcher.commit(tokenizer.encode("4"))
    assert end in matcher.allowed()
    assert not matcher.is_complete


def test_other_end_tokens_can_be_named() -> None:
    tokenizer = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    matcher = GrammarCompiler(tokenizer, ends).matcher("start: /[0-9]+/")
    matcher.commit(tokenizer.encode("4"))
    assert set(ends) <= set(matcher.allowed())


def test_any_text_can_be_written_byte_by_byte(compiler: GrammarCompiler, tokenizer: Any) -> None:
    matcher = compiler.matcher('start: %json {"type": "string"}')
    for token in tokenizer.encode('"Zürich 東京 🙂 \\n"'):
        assert token in matcher.allowed()
        matcher.commit([token])
    assert matcher.is_complete


def test_tokens_outside_the_grammar_are_an_error(compiler: GrammarCompiler, tokenizer: Any) -> None:
    matcher = compiler.matcher('start: "yes"')
    with pytest.raises(GrammarError):
        matcher.commit(tokenizer.encode("no"))


@pytest.mark.parametrize("text", ["start: (", "start: missing_rule", 'start: %json {"type": "nonsense"}', ""])
def test_a_text_that_is_no_grammar_is_an_error_each_time(compiler: GrammarCompiler, text: str) -> None:
    for _ in range(2):
        with pytest.raises(GrammarError) as caught:
            compiler.matcher(text)
        assert caught.value.hint


def test_a_matcher_from_the_cache_starts_at_the_beginning(compiler: GrammarCompiler) -> None:
    text = 'start: "one" | "two"'
    first = compiler.matcher(text)
    start = list(first.allowed())
    first.commit(start[:1])
    assert list(compiler.matcher(text).allowed()) == start


def test_the_cache_keeps_the_latest_grammars(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "CACHED_GRAMMARS", 2)
    compiler = GrammarCompiler(tokenizer)
    for word in "abac":
        compiler.matcher(f'start: "{word}"')
    assert list(compiler._compiled) == ['start: "a"', 'start: "c"']
