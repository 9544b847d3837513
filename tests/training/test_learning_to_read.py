"""Reading is learnt, saved and served with the same values; targets say what is given, absent or said otherwise."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mcp_dualtune.adapter_registry.manifest import Manifest, TrainingData
from mcp_dualtune.engine.base import PointRequest
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.engine.reading import attach_head, point
from mcp_dualtune.pipeline.assignment import found_values
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, ReadingTemplate
from mcp_dualtune.training.encoder_adapters import HEAD, MODULES, groups
from mcp_dualtune.training.loop import Plan, Trainer
from mcp_dualtune.training.lora import AdaptedModel
from mcp_dualtune.training.reading import LEARNT_TOKENS, Pointing, Reading, readings, slot_loss
from mcp_dualtune.training.records import Case
from mcp_dualtune.types import HistoryItem, ServerSpec, ToolCall, ToolSpec
from tests.tiny_models import adapter_ref, tiny_encoder, tiny_pieces

TEXT = {"type": "string"}
TOOL = ToolSpec(
    "s",
    "move",
    "",
    {
        "properties": {"from": TEXT, "to": TEXT, "all": {"type": "boolean"}, "names": {"type": "array", "items": TEXT}},
        "required": ["from"],
    },
    "",
)
SERVER = ServerSpec("s", "", (TOOL,), "")
TEMPLATE = ReadingTemplate(tiny_pieces())


def case(query: str, **arguments: Any) -> Case:
    return Case(query, SERVER, "move", arguments)


def states(*read: Reading) -> dict[str, int]:
    pairs = [pair for one in read for pair in zip(one.page.slots, one.targets, strict=True)]
    return {slot.path[0]: target.state for slot, target in pairs}


def make(rng: random.Random) -> list[Reading]:
    """One letter leaves for another; the letters say nothing of their roles, the words between them do."""
    found = []
    for _ in range(4):
        one, other = rng.sample("abcdefghijklmnop", 2)
        turned = rng.random() < 0.5
        query = f"to {other} from {one}" if turned else f"from {one} to {other}"
        found += readings(TEMPLATE, case(query, **{"from": one, "to": other}), TOOL)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    root = tmp_path_factory.mktemp("runs")
    model = load_encoder(folder, "float32", threads=1).model
    attach_head(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        adapted = AdaptedModel(model, (*MODULES, *HEAD), 8, 16, "tiny", dict.fromkeys(HEAD, 16))
    objective = Pointing(adapted.model)

    def items(start: int) -> Iterator[list[Reading]]:
        return groups(make, "read", start)

    held_out = {"all": [next(items(900 + n)) for n in range(6)]}
    before = objective.measure(held_out["all"], 3)
    plan = Plan(steps=120, rows=4, other_rate=1e-2, warmup=4, measure_every=500, save_every=500)
    after = Trainer(adapted.model, objective, plan, root / "reading", device=torch.device("cpu")).run(items, held_out)
    adapted.save(root / "adapters" / "reading", Manifest("arguments", "0" * 64, 8, TrainingData("1" * 64, 8)))
    return before, after["all"], root / "adapters" / "reading", held_out["all"], adapted.model


def test_roles_are_learnt_from_the_words_around(trained: tuple[Any, ...]) -> None:
    before, after, *_ = trained
    assert after["given"] > 0.9 > before["given"]
    assert after["loss"] < before["loss"] / 3


def test_serving_reads_what_training_read(trained: tuple[Any, ...], folder: Path) -> None:
    *_, target, kept, model = trained
    engine = EncoderEngine(load_encoder(folder, "float32", threads=1))
    pages = [reading.page for group in kept for reading in group]
    served = engine.point(PointRequest(pages, adapter_ref(target, "reading")))
    model.eval()
    with torch.no_grad():
        learnt = [scores.pointers() for page in pages for scores in point(model, [page])]
    for page, one, other in zip(pages, served, learnt, strict=True):
        # The saved adapter is rounded to bfloat16.
        torch.testing.assert_close(torch.tensor(one.states), torch.tensor(other.states), atol=0.1, rtol=0)
        assert [found.values for found in found_values(page, one)] == [f.values for f in found_values(page, other)]


def test_targets_tell_given_from_absent_and_said_otherwise() -> None:
    read = readings(TEMPLATE, case("take a to b, the lot", **{"from": "a", "to": "elsewhere", "all": True}), TOOL)
    assert states(*read) == {"from": GIVEN, "to": ELSEWHERE, "all": GIVEN, "names": ABSENT}
    read = readings(TEMPLATE, case("take a and b", names=["a", "b"]), TOOL)
    assert states(*read)["names"] == GIVEN
    assert [len(target.spans) for one in read for target in one.targets if target.values] == [2]
    assert states(*readings(TEMPLATE, case("take a", names=["a", "c"]), TOOL))["names"] == ELSEWHERE


def test_fixed_parameters_are_not_taught_and_long_requests_are_left_out() -> None:
    fixed = Case("take a", SERVER, "move", {"from": "a"}, fixed={"to": "b"})
    assert "to" not in states(*readings(TEMPLATE, fixed, TOOL))
    assert readings(TEMPLATE, case("take " * LEARNT_TOKENS), TOOL) == []
    history = (HistoryItem(ToolCall("s", "list", {}), "x " * 2000),)
    (read,) = readings(TEMPLATE, Case("take a", SERVER, "move", {"from": "a"}, history=history), TOOL)
    assert len(read.page.tokens) <= LEARNT_TOKENS


def test_any_place_of_a_value_is_right(folder: Path) -> None:
    model = load_encoder(folder, "float32", threads=1).model
    attach_head(model)
    (once,) = readings(TEMPLATE, case("take a to b", **{"from": "a"}), TOOL)
    (twice,) = readings(TEMPLATE, case("take a to a", **{"from": "a"}), TOOL)
    with torch.no_grad():
        losses = [float(slot_loss(one.page, point(model, [one.page])[0], 0, one.targets[0])) for one in (once, twice)]
    assert losses[1] < losses[0]
