"""Packed rows teach exactly what separate prompts would."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch

from mcp_dualtune.training.examples import Example
from mcp_dualtune.training.loop import batch_of, tree_mask
from mcp_dualtune.training.packing import Packer, Row, stream

LENGTH, WORDS = 96, 50
CPU = torch.device("cpu")


def group(rng: random.Random, branches: int = 3) -> list[Example]:
    stable = tuple(rng.randrange(1, WORDS) for _ in range(rng.randint(3, 12)))
    made = []
    for _ in range(branches):
        request = tuple(rng.randrange(1, WORDS) for _ in range(rng.randint(1, 6)))
        answer = tuple(rng.randrange(1, WORDS) for _ in range(rng.randint(1, 5)))
        made.append(Example(stable + request, len(stable), answer))
    return made


def pack(groups: list[list[Example]], prompt_weight: float = 0.0, length: int = LENGTH) -> list[Row]:
    packer = Packer(length, 0, prompt_weight, random.Random(0))
    rows = [row for one in groups for row in packer.add_group(one)]
    return [*rows, packer.finish()]


def branches_of(row: Row) -> list[tuple[list[int], list[int], slice]]:
    """(tokens of its root, own tokens, place) of every branch."""
    found = []
    for number in range(int(row.segment.max()) + 1):
        own = np.flatnonzero(row.segment == number)
        root = int(row.root[own[0]])
        if root != number:
            above = row.tokens[row.segment == root].tolist()
            found.append((above, row.tokens[own].tolist(), slice(own[0], own[-1] + 1)))
    return found


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=4096, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_a_branch_in_a_packed_row_sees_what_it_sees_alone(model: Any) -> None:
    rng = random.Random(1)
    row = pack([group(rng), group(rng), group(rng)])[0]
    batch = batch_of([row], CPU)
    allowed = tree_mask(batch["segment"], batch["root"])
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    with torch.no_grad():
        packed = model(
            input_ids=batch["tokens"].long(), attention_mask=mask, position_ids=batch["position"].long()
        ).logits[0]
        branches = branches_of(row)
        assert len(branches) >= 6
        for above, own, place in branches:
            alone = model(input_ids=torch.tensor([above + own])).logits[0, len(above) :]
            torch.testing.assert_close(packed[place], alone, atol=1e-4, rtol=1e-4)


def test_weights_lie_on_answers_and_targets_stay_in_their_segment() -> None:
    rng = random.Random(2)
    groups = [group(rng) for _ in range(6)]
    examples = {(e.tokens, e.answer) for one in groups for e in one}
    seen = set()
    for row in pack(groups):
        for above, own, place in branches_of(row):
            weighted = np.flatnonzero(row.weight[place])
            answer = tuple(row.target[place][weighted].tolist())
            assert (tuple(above + own[: -len(answer)]), answer) in examples
            seen.add((tuple(above + own[: -len(answer)]), answer))
        inside = row.target >= 0
        at = np.flatnonzero(inside)
        assert (row.segment[at] == row.segment[at + 1]).all()
        assert (row.target[at] == row.tokens[at + 1]).all()
        assert not row.weight[~inside].any()
    assert seen == examples


def test_only_answers_have_full_weight() -> None:
    rng = random.Random(3)
    rows = pack([group(rng) for _ in range(30)], prompt_weight=0.1)
    weights = {float(value) for row in rows for value in np.unique(row.weight)}
    assert weights == {0.0, float(np.float32(0.1)), 1.0}


def test_a_group_that_reaches_the_end_of_a_row_goes_on_in_the_next_with_its_prefix_again() -> None:
    rng = random.Random(4)
    groups = [group(rng, branches=5), group(rng, branches=7)]
    rows = pack(groups, length=80)
    assert len(rows) == 2
    packed = [(tuple(above), tuple(own)) for row in rows for above, own, _ in branches_of(row)]
    assert packed == [(e.tokens[: e.stable], e.tokens[e.stable :] + e.answer) for one in groups for e in one]


def test_an_example_that_fits_no_row_is_counted_and_dropped() -> None:
    packer = Packer(LENGTH, 0, 0.0, random.Random(0))
    long = Example(tuple(range(1, LENGTH + 5)), 3, (1, 2))
    assert not list(packer.add_group([long]))
    assert packer.dropped == 1
    assert (packer.finish().segment == -1).all()


@pytest.mark.parametrize("start", [1, 3, 4, 9])
def test_a_stream_can_start_anywhere(start: int) -> None:
    def rows(first: int) -> Any:
        return stream(group, "seed", first, LENGTH, 0, chunk=4)

    whole = list(itertools.islice(rows(0), start + 5))[start:]
    skipped = list(itertools.islice(rows(start), 5))
    for one, other in zip(whole, skipped, strict=True):
        for name in ("tokens", "segment", "root", "position", "target", "weight"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
