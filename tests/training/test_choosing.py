"""Choosing is learnt, saved and served with the same scores."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mcp_dualtune.adapter_registry.manifest import Manifest, Scores, TrainingData, load_manifest, save_manifest
from mcp_dualtune.engine.base import RankRequest
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.training.choosing import Choosing, Group
from mcp_dualtune.training.encoder_adapters import MODULES, groups
from mcp_dualtune.training.examples import Example
from mcp_dualtune.training.loop import Plan, Trainer
from mcp_dualtune.training.lora import AdaptedModel, calibrate
from mcp_dualtune.types import AdapterRef, Request, ServerSpec, ToolSpec
from tests.tiny_models import adapter_ref, tiny_encoder

TOOLS = {"read_file": "show me it", "move_file": "take it elsewhere", "get_time": "how late"}
SERVER = ServerSpec("all", "", tuple(ToolSpec("all", name, "", {}, "") for name in TOOLS), "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def adapted(folder: Path) -> tuple[AdaptedModel, Any]:
    loaded = load_encoder(folder, "float32", threads=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return AdaptedModel(loaded.model, MODULES, 4, 8, "tiny"), loaded.tokenizer


def make(tokenizer: Any, rng: random.Random) -> list[Example]:
    """Requests whose words have nothing in common with the names of the tools."""
    renderer, group = Renderer.for_tokenizer(tokenizer), []
    for name in rng.choices(list(TOOLS), k=4):
        prompt = renderer.select(Request(TOOLS[name]), SERVER)
        right = prompt.option_tokens[prompt.options.index(name)]
        group.append(Example(prompt.tokens, 0, right, prompt.option_tokens))
    return group


@pytest.fixture(scope="module")
def trained(adapted: tuple[AdaptedModel, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    model, tokenizer = adapted
    root = tmp_path_factory.mktemp("runs")
    objective = Choosing(model.model, tokenizer.cls_token_id)

    def items(start: int) -> Iterator[Group]:
        return groups(lambda rng: make(tokenizer, rng), "choose", start)

    held_out = {"all": [next(items(900 + n)) for n in range(4)]}
    before = objective.measure(held_out["all"], 2)
    frozen = {n: p.detach().clone() for n, p in model.model.named_parameters() if not p.requires_grad}
    plan = Plan(steps=40, rows=2, other_rate=1e-2, warmup=2, measure_every=100, save_every=100)
    after = Trainer(model.model, objective, plan, root / "select", device=torch.device("cpu")).run(items, held_out)
    moved = [n for n, p in model.model.named_parameters() if n in frozen and not torch.equal(p, frozen[n])]
    manifest = Manifest("select", "0" * 64, 4, TrainingData("1" * 64, 8), scores=Scores(before["answer"], 1.0))
    model.save(root / "adapters" / "select", manifest)
    return before, after["all"], moved, root / "adapters" / "select", held_out["all"], objective


def test_a_few_steps_teach_the_words_and_leave_the_base_alone(trained: tuple[Any, ...]) -> None:
    before, after, moved, *_ = trained
    assert after["answer"] == 1.0 > before["answer"]
    assert after["loss"] < before["loss"] / 2
    assert moved == []


def test_serving_gives_the_scores_of_training(trained: tuple[Any, ...], folder: Path) -> None:
    *_, target, kept, objective = trained
    engine = EncoderEngine(load_encoder(folder, "float32", threads=1))
    adapter = adapter_ref(target, "select")
    objective.model.eval()
    with torch.no_grad():
        scored = objective.scores(kept)
    examples = [example for group in kept for example in group]
    for example, (scores, right) in zip(examples, scored, strict=True):
        served = engine.rank(RankRequest(example.tokens, example.options, adapter)).log_probabilities
        # The saved adapter is rounded to bfloat16.
        torch.testing.assert_close(torch.tensor(served).exp(), scores.sum(0).softmax(-1), atol=0.03, rtol=0)
        assert example.options[right] == example.answer


def test_the_temperature_is_fitted_and_kept(trained: tuple[Any, ...], folder: Path) -> None:
    *_, target, kept, _ = trained
    engine = EncoderEngine(load_encoder(folder, "float32", threads=1))
    examples = [example for group in kept for example in group]
    sure: AdapterRef = adapter_ref(target, "select")
    assert calibrate(engine, sure, examples) == pytest.approx(load_manifest(target).temperature, abs=1e-3)
    # Labels that contradict the scores ask for a higher temperature.
    turned = [Example(e.tokens, 0, e.options[e.options.index(e.answer) - 1], e.options) for e in examples]
    assert calibrate(engine, sure, turned) > 1.0


def test_saving_again_keeps_what_lies_below(trained: tuple[Any, ...], adapted: tuple[AdaptedModel, Any]) -> None:
    *_, target, _, _ = trained
    manifest = load_manifest(target)
    below = target / "git"
    below.mkdir()
    save_manifest(manifest, below)
    adapted[0].save(target, manifest)
    assert load_manifest(below) == manifest
    assert not list(target.parent.glob("*.partial"))


def test_the_stream_can_start_anywhere(adapted: tuple[AdaptedModel, Any]) -> None:
    def items(start: int) -> Iterator[Group]:
        return groups(lambda rng: make(adapted[1], rng), "x", start)

    whole = [group for _, group in zip(range(6), items(0), strict=False)]
    assert [group for _, group in zip(range(2), items(4), strict=False)] == whole[4:]
