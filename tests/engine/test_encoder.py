"""The ranking engine: right scores, vectors kept for the weights they came from, and nothing it cannot do."""

from __future__ import annotations

import math
from pathlib import Path
from threading import Event

import pytest
import torch

from mcp_dualtune.engine import encoder as module
from mcp_dualtune.engine.base import GenerationRequest, RankRequest, Tokens
from mcp_dualtune.engine.encoder import EXEMPLAR, SCALE, EncoderEngine, batches, split_passages
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.errors import Cancelled, EngineError, ModelLoadError, PromptTooLong
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.types import AdapterRef, Request, ServerSpec, ToolSpec
from tests.tiny_models import tiny_adapter, tiny_encoder

READ = ToolSpec("files", "read_file", "Reads a file.", {"properties": {"path": {}}}, "")
MOVE = ToolSpec("files", "move_file", "Moves a file to another place on the disk.", {}, "")
FILES, CLOCK = ServerSpec("files", "files", (READ, MOVE), ""), ServerSpec("clock", "", (MOVE,), "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AdapterRef, ...]:
    root = tmp_path_factory.mktemp("adapters")
    return tuple(tiny_adapter(folder, root / str(seed), seed=seed) for seed in (1, 2))


@pytest.fixture
def engine(folder: Path) -> EncoderEngine:
    return EncoderEngine(load_encoder(folder, "float32", threads=1))


def asked(engine: EncoderEngine, text: str = "move it", adapter: AdapterRef | None = None) -> RankRequest:
    prompt = Renderer.for_tokenizer(engine.tokenizer).route(Request(text), [FILES, CLOCK])
    return RankRequest(prompt.tokens, prompt.option_tokens, adapter, prompt.stable)


def states(folder: Path, passage: Tokens) -> torch.Tensor:
    """Hidden states by transformers alone, one passage at a time."""
    model = load_encoder(folder, "float32", threads=1).model
    found: torch.Tensor = model(input_ids=torch.tensor([passage])).last_hidden_state[0].detach()
    return found


def close(asked: torch.Tensor, offered: torch.Tensor) -> float:
    """Closeness written out: means, and for every token of the request the one that is most like it."""
    cosine = torch.nn.functional.cosine_similarity
    most = [max(float(cosine(one, other, dim=0)) for other in offered[1:-1]) for one in asked[1:-1]]
    return float(cosine(asked.mean(0), offered.mean(0), dim=0)) + sum(most) / len(most)


def test_scores_are_the_scaled_closeness_of_the_best_passages(engine: EncoderEngine, folder: Path) -> None:
    request = asked(engine)
    start = engine.tokenizer.cls_token_id
    sizes = [len(split_passages(option, start)) for option in request.options]
    assert sizes == [3, 2, 1]  # each server and its tools; none
    question = states(folder, request.prompt)
    best = [max(close(question, states(folder, p)) for p in split_passages(o, start)) for o in request.options]
    expected = torch.log_softmax(SCALE * torch.tensor(best), -1)
    # Kept vectors are in half precision.
    torch.testing.assert_close(torch.tensor(engine.rank(request).log_probabilities), expected, atol=2e-2, rtol=0)


def test_an_earlier_request_is_a_passage_of_its_option_and_counts_a_little_less(
    engine: EncoderEngine, folder: Path
) -> None:
    prompt = Renderer.for_tokenizer(engine.tokenizer).route(
        Request("move it"), [FILES, CLOCK], {"clock": ["move that", "what time is it"]}
    )
    request = RankRequest(prompt.tokens, prompt.option_tokens, None, prompt.stable, prompt.exemplars)
    start = engine.tokenizer.cls_token_id
    assert [len(split_passages(earlier, start)) for earlier in request.exemplars] == [0, 2, 0]
    question = states(folder, request.prompt)
    best = [max(close(question, states(folder, p)) for p in split_passages(o, start)) for o in request.options]
    earlier = [close(question, states(folder, p)) for p in split_passages(request.exemplars[1], start)]
    best[1] = max(best[1], EXEMPLAR * max(earlier))
    expected = torch.log_softmax(SCALE * torch.tensor(best), -1)
    torch.testing.assert_close(torch.tensor(engine.rank(request).log_probabilities), expected, atol=2e-2, rtol=0)


def test_of_many_passages_only_the_nearest_are_looked_at_closely(
    engine: EncoderEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = engine.rank(asked(engine)).log_probabilities
    monkeypatch.setattr(module, "LOOKED_AT", 2)
    found = engine.rank(asked(engine)).log_probabilities
    assert sum(map(math.exp, found)) == pytest.approx(1, abs=1e-5)
    assert found != exact
    monkeypatch.setattr(module, "LOOKED_AT", 6)
    assert engine.rank(asked(engine)).log_probabilities == pytest.approx(exact, abs=1e-5)


def test_known_passages_are_not_computed_again_and_score_the_same(engine: EncoderEngine, folder: Path) -> None:
    first = engine.rank(asked(engine))
    again = engine.rank(asked(engine))
    assert first.cached_tokens == 0
    assert again.cached_tokens == sum(map(len, asked(engine).options))
    assert again.log_probabilities == first.log_probabilities
    fresh = EncoderEngine(load_encoder(folder, "float32", threads=1))
    fresh.rank(asked(fresh, "something else"))
    assert fresh.rank(asked(fresh)).log_probabilities == pytest.approx(first.log_probabilities, abs=1e-5)


def test_vectors_belong_to_the_adapter_they_were_made_under(
    engine: EncoderEngine, adapters: tuple[AdapterRef, ...], folder: Path
) -> None:
    alone = []
    for adapter in (None, *adapters):
        fresh = EncoderEngine(load_encoder(folder, "float32", threads=1))
        alone.append(fresh.rank(asked(fresh, adapter=adapter)).log_probabilities)
    assert len(set(alone)) == 3
    for _ in range(2):
        mixed = [engine.rank(asked(engine, adapter=adapter)).log_probabilities for adapter in (None, *adapters)]
        for one, other in zip(mixed, alone, strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_memory_for_vectors_is_bounded(engine: EncoderEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_TEXTS", 4)
    before = engine.rank(asked(engine)).log_probabilities
    assert len(engine.vectors) == 4
    assert engine.rank(asked(engine)).log_probabilities == pytest.approx(before, abs=1e-5)


def test_probabilities_sum_to_one(engine: EncoderEngine) -> None:
    assert sum(map(math.exp, engine.rank(asked(engine)).log_probabilities)) == pytest.approx(1, abs=1e-5)


def test_cancelled_request_stops_before_the_next_batch(engine: EncoderEngine) -> None:
    gone = Event()
    gone.set()
    with pytest.raises(Cancelled):
        engine.rank(asked(engine), gone)
    assert engine.rank(asked(engine)).log_probabilities


def test_what_is_too_long_to_read_is_said(engine: EncoderEngine) -> None:
    start = engine.tokenizer.cls_token_id
    with pytest.raises(PromptTooLong, match="513 tokens"):
        engine.rank(RankRequest((start, *[7] * 512), ((start, 8),)))


def test_an_encoder_cannot_write(engine: EncoderEngine) -> None:
    with pytest.raises(EngineError, match="cannot write"):
        engine.generate(GenerationRequest((1,), None))


def test_a_decoder_is_no_encoder(llama_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="start and separator"):
        load_encoder(llama_folder)


def test_batches_hold_everything_once_within_the_limit() -> None:
    passages = [(1,) * length for length in (5, 3, 9, 3, 40, 2)]
    made = list(batches(passages, 18))
    assert sorted(passage for batch in made for passage in batch) == sorted(passages)
    assert all(len(batch) == 1 or max(map(len, batch)) * len(batch) <= 18 for batch in made)
