"""Ranking and decoding on tiny real models, against plain forward passes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from threading import Event
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_dualtune.engine.base import GenerationRequest, RankRequest, Tokens
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.errors import Cancelled, EngineError, PromptTooLong
from mcp_dualtune.prompting.answer import Filled, Plain
from mcp_dualtune.types import AdapterRef
from tests.tiny_models import tiny_adapter, tiny_qwen2

TEXT = "read the file notes/a.md, head 10 lines, then list all branches of the repository at /tmp/repo "
NAMES = ("read_text_file", "read_file", "git_log", "git_status", "git_status_all", "x")
CLOSE = 1e-4


def encode(engine: HFEngine, text: str) -> Tokens:
    return tuple(engine.tokenizer.encode(text, add_special_tokens=False))


def options(engine: HFEngine, names: tuple[str, ...] = NAMES) -> tuple[Tokens, ...]:
    return tuple((*encode(engine, name), engine.tokenizer.eos_token_id) for name in names)


def brute_force(engine: HFEngine, prompt: Tokens, choices: tuple[Tokens, ...]) -> list[float]:
    """Log-probabilities from one plain forward pass per option, with no cache and no mask."""
    model, totals = engine.model, []
    for choice in choices:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *choice]])).logits[0, len(prompt) - 1 : -1]
        totals.append(float(torch.log_softmax(logits.float(), -1)[range(len(choice)), list(choice)].double().sum()))
    normal = torch.log_softmax(torch.tensor(totals, dtype=torch.float64), 0)
    return [float(value) for value in normal]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_one_packed_pass_scores_options_like_one_pass_each(
    architecture: str, llama_folder: Path, qwen2_folder: Path
) -> None:
    folder = {"llama": llama_folder, "qwen2": qwen2_folder}[architecture]
    engine = HFEngine(load_model(folder, "float32", threads=1))
    assert engine.packs_options
    prompt, choices = encode(engine, TEXT * 3), options(engine)
    expected = brute_force(engine, prompt, choices)
    for stable in (0, len(prompt) // 2):
        assert engine.rank(RankRequest(prompt, choices, stable=stable)).log_probabilities == pytest.approx(
            expected, abs=CLOSE
        )
    assert sum(map(math.exp, expected)) == pytest.approx(1)


def test_a_model_with_a_sliding_window_ranks_in_a_batch_and_keeps_its_window(tmp_path: Path) -> None:
    folder = tiny_qwen2(tmp_path, use_sliding_window=True, sliding_window=8, max_window_layers=1)
    engine = HFEngine(load_model(folder, "float32", threads=1))
    assert not engine.packs_options
    prompt, choices = encode(engine, TEXT * 3), options(engine)
    expected = brute_force(engine, prompt, choices)
    for cached in (False, True):
        ranking = engine.rank(RankRequest(prompt, choices, stable=len(prompt)))
        assert ranking.log_probabilities == pytest.approx(expected, abs=CLOSE)
        assert (ranking.cached_tokens > 0) == cached


def test_options_beyond_one_pass_are_scored_in_groups(engine: HFEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, choices = encode(engine, TEXT), options(engine)
    whole = engine.rank(RankRequest(prompt, choices))
    monkeypatch.setattr("mcp_dualtune.engine.generate.PACKED_TOKENS", 7)
    monkeypatch.setattr("mcp_dualtune.engine.generate.PREFILL_TOKENS", 16)
    engine.prefixes.clear()
    pieces = engine.rank(RankRequest(prompt, choices))
    assert pieces.log_probabilities == pytest.approx(whole.log_probabilities, abs=CLOSE)


def test_a_single_option_of_one_token_is_certain(engine: HFEngine) -> None:
    assert engine.rank(RankRequest((5,), ((7,),))).log_probabilities == (0.0,)


def test_cached_and_uncached_answers_are_the_same(engine: HFEngine, adapters: tuple[AdapterRef, ...]) -> None:
    stable = encode(engine, TEXT * 4)
    choices = options(engine)
    for adapter in (None, adapters[0]):
        for ending in ("please read it", "what time is it in Tokyo", "please read it"):
            prompt = (*stable, *encode(engine, ending))
            warm = engine.rank(RankRequest(prompt, choices, adapter, len(stable)))
            engine_tokens = engine.generate(GenerationRequest(prompt, None, adapter, len(stable), 12)).tokens
            kept, engine.prefixes = engine.prefixes, type(engine.prefixes)(0)
            cold = engine.rank(RankRequest(prompt, choices, adapter, len(stable)))
            assert engine.generate(GenerationRequest(prompt, None, adapter, len(stable), 12)).tokens == engine_tokens
            engine.prefixes = kept
            assert cold.cached_tokens == 0
            assert warm.log_probabilities == pytest.approx(cold.log_probabilities, abs=CLOSE)
        assert warm.cached_tokens >= len(stable)


def test_bf16_decides_the_same_with_and_without_the_cache(llama_folder: Path) -> None:
    engine = HFEngine(load_model(llama_folder, "bf16", threads=1))
    stable, choices = encode(engine, TEXT * 4), options(engine)
    for ending in ("please read it", "list all branches", "what time is it in Tokyo"):
        prompt = (*stable, *encode(engine, ending))
        engine.prefixes.clear()
        cold = engine.rank(RankRequest(prompt, choices, stable=len(stable)))
        warm = engine.rank(RankRequest(prompt, choices, stable=len(stable)))
        assert warm.cached_tokens >= len(stable) > cold.cached_tokens
        assert warm.log_probabilities.index(max(warm.log_probabilities)) == cold.log_probabilities.index(
            max(cold.log_probabilities)
        )


def test_no_adapter_sees_what_another_one_cached(engine: HFEngine, adapters: tuple[AdapterRef, ...]) -> None:
    """Every order of adapters gives what each gives alone; their answers do differ."""
    prompt, choices = encode(engine, TEXT * 4), options(engine)
    alone = {}
    for adapter in (None, *adapters):
        engine.prefixes.clear()
        alone[adapter] = engine.rank(RankRequest(prompt, choices, adapter, len(prompt))).log_probabilities
    answers = list(alone.values())
    assert all(abs(one[0] - other[0]) > 0.01 for i, one in enumerate(answers) for other in answers[:i])
    for adapter in (adapters[0], None, adapters[1], adapters[0], adapters[2], None, adapters[1]):
        again = engine.rank(RankRequest(prompt, choices, adapter, len(prompt)))
        assert again.log_probabilities == pytest.approx(alone[adapter], abs=CLOSE)


def test_an_adapter_retrained_in_place_starts_without_old_cache(
    engine: HFEngine, llama_folder: Path, tmp_path: Path
) -> None:
    prompt, choices = encode(engine, TEXT * 4), options(engine)
    old = tiny_adapter(llama_folder, tmp_path / "route", seed=5)
    engine.rank(RankRequest(prompt, choices, old, len(prompt)))
    new = tiny_adapter(llama_folder, tmp_path / "route", seed=6)
    assert (old.name, old.path) == (new.name, new.path)
    warm = engine.rank(RankRequest(prompt, choices, new, len(prompt)))
    fresh = HFEngine(load_model(llama_folder, "float32", threads=1)).rank(RankRequest(prompt, choices, new))
    assert warm.cached_tokens == 0
    assert warm.log_probabilities == pytest.approx(fresh.log_probabilities, abs=CLOSE)


SCHEMAS: tuple[dict[str, Any], ...] = (
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "head": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["path"],
    },
    {
        "type": "object",
        "properties": {"mode": {"enum": ["fast", "faster", "slow"]}, "deep": {"type": "boolean"}},
        "required": ["mode", "deep"],
    },
    {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
            "place": {"anyOf": [{"type": "null"}, {"type": "number"}]},
        },
        "required": ["tags"],
    },
)


@pytest.fixture(scope="module")
def engines(llama_folder: Path, qwen2_folder: Path) -> dict[str, HFEngine]:
    return {
        "filled": HFEngine(load_model(llama_folder, "float32", threads=1)),
        "plain": HFEngine(load_model(qwen2_folder, "float32", threads=1)),
    }


@pytest.mark.parametrize(("least", "most"), [(0, 0), (0, 1), (0, 2), (2, 2), (3, None), (1, 4)])
def test_lists_are_as_long_as_the_schema_says(engines: dict[str, HFEngine], least: int, most: int | None) -> None:
    tags = {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": least}
    tags |= {} if most is None else {"maxItems": most}
    schema = {"type": "object", "properties": {"tags": tags}, "required": ["tags"]}
    for first in range(20, 60):
        done = engines["filled"].generate(GenerationRequest((first,), Filled().grammar(schema, ()), max_tokens=200))
        if done.complete and not (parsed := Filled().parse(done.text, schema)).missing:
            jsonschema.validate(parsed.arguments, schema)


@settings(max_examples=25, deadline=None)
@given(
    style=st.sampled_from(["filled", "plain"]),
    schema=st.sampled_from(SCHEMAS),
    prompt=st.lists(st.integers(20, 390), min_size=1, max_size=30),
    room=st.sampled_from([1, 9, 400]),
)
def test_the_grammar_is_never_left(
    engines: dict[str, HFEngine], style: str, schema: dict[str, Any], prompt: list[int], room: int
) -> None:
    """A random model would write rubbish: what is complete parses and validates, what is cut says so."""
    engine = engines[style]
    answer = Filled() if style == "filled" else Plain()
    done = engine.generate(
        GenerationRequest(tuple(prompt), answer.grammar(schema, ("read notes/a.md, 10 lines",)), max_tokens=room)
    )
    assert len(done.tokens) <= room
    assert len(done.probabilities) == done.model_calls
    assert all(0 < probability <= 1 + 1e-6 for probability in done.probabilities)
    if done.complete:
        parsed = answer.parse(done.text, schema)
        loose = {**schema, "required": [name for name in schema["required"] if name not in parsed.missing]}
        jsonschema.validate(parsed.arguments, loose)
    else:
        assert len(done.tokens) == room
        with pytest.raises(json.JSONDecodeError):
            json.loads(done.text)


def test_forced_tokens_cost_no_model_calls(engine: HFEngine) -> None:
    prompt = encode(engine, TEXT)
    forced = engine.generate(GenerationRequest(prompt, 'start: "read the file notes"'))
    assert (forced.text, forced.model_calls, forced.complete) == ("read the file notes", 0, True)
    schema = {"type": "object", "properties": {"deep": {"type": "boolean"}}, "required": ["deep"]}
    chosen = engine.generate(GenerationRequest(prompt, Filled().grammar(schema, ())))
    assert chosen.complete
    assert chosen.model_calls < len(chosen.tokens)


def test_greedy_decoding_is_what_plain_forward_passes_give(engine: HFEngine) -> None:
    prompt = encode(engine, TEXT)
    expected = list(prompt)
    for _ in range(8):
        with torch.inference_mode():
            expected.append(int(engine.model(input_ids=torch.tensor([expected])).logits[0, -1].argmax()))
    assert engine.tokenizer.eos_token_id not in expected
    done = engine.generate(GenerationRequest(prompt, None, max_tokens=8))
    assert list(done.tokens) == expected[len(prompt) :]
    assert (done.complete, done.model_calls) == (False, 8)


def test_the_end_token_ends_a_free_answer(engine: HFEngine) -> None:
    prompt = encode(engine, TEXT)
    first = engine.generate(GenerationRequest(prompt, None, max_tokens=3)).tokens
    engine._ends = (first[2],)
    done = engine.generate(GenerationRequest(prompt, None, max_tokens=9))
    assert (done.tokens, done.complete) == (first[: first.index(first[2])], True)


def test_a_cancelled_request_stops_before_the_next_model_call(engine: HFEngine) -> None:
    cancel, calls = Event(), []
    forward = engine._forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            cancel.set()
        return forward(*args, **kwargs)

    engine._forward = counted
    with pytest.raises(Cancelled):
        engine.generate(GenerationRequest(encode(engine, TEXT), None, max_tokens=50), cancel)
    assert len(calls) == 3
    with pytest.raises(Cancelled):
        engine.rank(RankRequest(encode(engine, TEXT), options(engine)), cancel)
    assert len(calls) == 3


def test_prompts_that_do_not_fit_are_refused(engine: HFEngine) -> None:
    full = (30,) * engine.context_length
    with pytest.raises(PromptTooLong):
        engine.generate(GenerationRequest(full, None))
    with pytest.raises(PromptTooLong):
        engine.rank(RankRequest(full[3:], ((1, 2, 3, 4),)))
    assert len(engine.generate(GenerationRequest(full[2:], None, max_tokens=10)).tokens) <= 2


@pytest.mark.parametrize("choices", [(), ((1, 2), ())])
def test_an_empty_option_is_an_error(engine: HFEngine, choices: tuple[Tokens, ...]) -> None:
    with pytest.raises(EngineError):
        engine.rank(RankRequest((1, 2), choices))
