"""What the adapter for statements learns from: pages of every sketch whose parts stand in the request."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from transformers import AutoTokenizer

from mcp_dualtune.models import encoder_folder
from mcp_dualtune.pipeline.statements import SKETCHES
from mcp_dualtune.prompting.reading import ELSEWHERE, GIVEN, ReadingTemplate
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.reading import Reading
from mcp_dualtune.training.sources import split, tuned_corpus
from mcp_dualtune.training.statements import StatementPages


def pages(*, held_out: bool) -> StatementPages:
    cases = CaseMaker(split(tuned_corpus(), held_out=held_out))
    return StatementPages(ReadingTemplate(AutoTokenizer.from_pretrained(encoder_folder())), cases)


@pytest.fixture(scope="module")
def drawn() -> list[Reading]:
    source, rng = pages(held_out=False), random.Random(5)
    return [reading for _ in range(400) for reading in source.drawn(rng)]


def test_every_sketch_is_taught_on_one_page(drawn: list[Reading]) -> None:
    slots = Counter(tuple(slot.path[0] for slot in reading.page.slots) for reading in drawn)
    sketches = {tuple(sketch.input_schema["properties"]) for sketch in SKETCHES.values()}
    assert set(slots) == {*sketches, ("action",)}
    assert min(slots.values()) > 10


def test_what_is_asked_for_stands_on_the_page(drawn: list[Reading]) -> None:
    states = Counter(target.state for reading in drawn for target in reading.targets)
    assert states[ELSEWHERE] < states[GIVEN] / 20


def test_held_out_phrases_are_others_than_those_that_teach() -> None:
    texts = []
    for held_out in (False, True):
        source, rng = pages(held_out=held_out), random.Random(5)
        found = [reading for _ in range(300) for reading in source.phrase(rng)]
        texts.append(
            {source.text.lower() for reading in found for source in reading.page.sources if source.slot is None}
        )
    assert texts[0] and texts[1] and texts[0].isdisjoint(texts[1])
