"""The optimisation loop learns, and a killed run continues as if nothing had happened."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mcp_dualtune.training.examples import Example
from mcp_dualtune.training.loop import Plan, Trainer, Writing, batch_of, loss_of
from mcp_dualtune.training.packing import Row, stream

CPU = torch.device("cpu")
PLAN = Plan(steps=30, rows=2, warmup=4, save_every=10, measure_every=30, matrix_rate=2e-2, other_rate=1e-2)


class Killed(Exception):
    """The process went away in the middle of a run."""


def copying(rng: random.Random) -> list[Example]:
    """Answer with the token that was asked for: learnable in a few steps."""
    asked = [rng.randrange(5, 15) for _ in range(4)]
    return [Example((1, 2, token, 3), 2, (token, 4)) for token in asked]


def rows(start: int) -> Iterator[Row]:
    return stream(copying, "loop", start, 48, 0, chunk=8)


def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=2048, bos_token_id=None, eos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def trained(folder: Path, until: int | None = None) -> tuple[Any, dict[str, Any]]:
    """A model after the plan, or after being killed at batch `until`."""
    one = model()
    trainer = Trainer(one, Writing(one, one.model, CPU), PLAN, folder, device=CPU)

    def source(start: int) -> Iterator[Row]:
        for number, row in enumerate(rows(start)):
            if until is not None and number == until * PLAN.rows:
                raise Killed
            yield row

    return one, trainer.run(source, {"copy": [row for row, _ in zip(rows(500), range(4), strict=False)]})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("whole")
    return *trained(folder), folder


def test_thirty_steps_lower_the_loss(whole: tuple[Any, dict[str, Any], Path]) -> None:
    after, scores, folder = whole
    before = model()
    batch = batch_of([next(rows(900))], CPU)
    with torch.no_grad():
        start, end = (
            float(loss_of(one, one.model.to(torch.bfloat16), batch)[0]) for one in (before.bfloat16(), after.bfloat16())
        )
    assert end < start / 2
    assert scores["copy"]["loss"] < start
    assert 0 <= scores["copy"]["answer"] <= scores["copy"]["token"] <= 1
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == PLAN.steps


def test_a_killed_run_ends_with_the_same_weights(whole: tuple[Any, dict[str, Any], Path], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(tmp_path, until=17)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 10
    resumed, scores = trained(tmp_path)
    saved = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole[2], tmp_path)]
    assert [one["step"] for one in saved] == [PLAN.steps, PLAN.steps]
    for name, value in saved[0]["weights"].items():
        torch.testing.assert_close(saved[1]["weights"][name], value, atol=1e-6, rtol=0)
    assert scores == whole[1]
    assert sum(parameter.numel() for parameter in resumed.parameters()) > 0
