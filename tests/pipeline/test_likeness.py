"""What a request's words are like: options that it means, and slots that the words beside a value mean."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import pytest

from mcp_dualtune.engine.base import Comparison, PointRequest, Tokens
from mcp_dualtune.pipeline.assignment import found_values
from mcp_dualtune.pipeline.likeness import likeness
from mcp_dualtune.prompting.reading import Page, ReadingTemplate
from mcp_dualtune.prompting.slots import slots_of
from mcp_dualtune.types import JSON, Request, ToolSpec
from tests.pipeline.pointing import said, slot_number
from tests.tiny_models import tiny_pieces

TEMPLATE = ReadingTemplate(tiny_pieces())
SCHEMA = {
    "properties": {
        "state": {"type": "string", "enum": ["open", "closed"]},
        "owner": {"type": "string"},
        "team": {"type": "string"},
        "deep": {"type": "boolean"},
    }
}
ALIKE = {"finished": "closed", "person": "owner"}


class Alike:
    """An encoder to which a word is like itself, and like its fellow in ALIKE."""

    def __init__(self) -> None:
        self.passages: list[str] = []

    def point(self, request: PointRequest, cancel: Event | None = None) -> list[object]:
        raise NotImplementedError

    def compare(self, text: Tokens, passages: Sequence[Tokens], cancel: Event | None = None) -> list[Comparison]:
        self.passages = [" ".join(whole_words(passage)) for passage in passages]
        own = [ALIKE.get(word, word) for word in whole_words(text)]
        rows = [tuple(float(word in passage.split()) for word in own) for passage in self.passages]
        return [Comparison(8.0 * sum(row) / len(row), row) for row in rows]


def whole_words(tokens: Tokens) -> list[str]:
    """The word that each token is a piece of; once for a passage's words of one piece."""
    pieces = tiny_pieces().convert_ids_to_tokens(list(tokens[1:-1]))
    words: list[str] = []
    for piece in pieces:
        words.append(piece if not piece.startswith("##") else words[-1] + piece[2:])
    for at in range(len(words) - 2, -1, -1):
        if pieces[at + 1].startswith("##"):
            words[at] = words[at + 1]
    return words


def page_of(text: str, *names: str) -> Page:
    slots = [slot for name in names or SCHEMA["properties"] for slot in slots_of(SCHEMA, name)]
    return TEMPLATE.pages(Request(text), ToolSpec("s", "t", "", SCHEMA, "f" * 64), slots, {})[0]


def test_an_option_is_chosen_that_the_request_means() -> None:
    page, slot = page_of("the finished ones"), 0
    unsure = said(page, {("state",): [("open", 0.55), ("closed", 0.45)]})  # type: ignore[dict-item]
    assert found_values(page, unsure)[slot].values == ("open",)
    alike = likeness(Alike(), TEMPLATE, page, Event())
    assert found_values(page, unsure, alike)[slot].values == ("closed",)
    sure = said(page, {("state",): [("open", 0.9999), ("closed", 0.0001)]})  # type: ignore[dict-item]
    assert found_values(page, sure, alike)[slot].values == ("open",)


@pytest.mark.parametrize("beside", ["owner", "team"])
def test_a_value_goes_to_the_slot_that_the_word_beside_it_means(beside: str) -> None:
    word = {"owner": "person", "team": "team"}[beside]
    page = page_of(f"the {word} bob goes round to alice")
    both: list[tuple[JSON, float]] = [("bob", 0.5), ("alice", 0.5)]
    alike = likeness(Alike(), TEMPLATE, page, Event())
    assert alike is not None
    number, other = (slot_number(page, name) for name in (beside, "team" if beside == "owner" else "owner"))
    found = found_values(page, said(page, {("owner",): both, ("team",): both}), alike)
    assert found[number].values == ("bob",)
    assert found[other].values == ("alice",)


def test_booleans_and_single_slots_are_not_compared() -> None:
    engine = Alike()
    assert likeness(engine, TEMPLATE, page_of("bob", "owner"), Event()) is None
    assert likeness(engine, TEMPLATE, page_of("bob", "owner", "deep"), Event()) is not None
    assert [set(text.split()) for text in engine.passages] == [{"owner"}, {"deep"}]
