"""Literal cues: names of slots beside values, and options that are said in their own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_dualtune.pipeline.assignment import found_values
from mcp_dualtune.pipeline.cues import literals, named, said_option
from mcp_dualtune.prompting.reading import GIVEN, Page, ReadingTemplate
from mcp_dualtune.prompting.slots import slots_of
from mcp_dualtune.types import Request, ToolSpec
from tests.pipeline.pointing import page_of, said, slot_number
from tests.tiny_models import tiny_pieces

STATES = {
    "properties": {"state": {"type": "string", "enum": ["open", "in_progress", "closed"]}, "note": {"type": "string"}}
}


def states_page(text: str) -> Page:
    slots = [*slots_of(STATES, "state"), *slots_of(STATES, "note")]
    return ReadingTemplate(tiny_pieces()).pages(Request(text), ToolSpec("s", "t", "", STATES, "f" * 64), slots, {})[0]


@pytest.mark.parametrize(
    ("text", "value", "slot", "expected"),
    [
        ("the target is b.md", "b.md", "target", True), ("b.md target", "b.md", "target", True),
        ("the target is b.md", "b.md", "source", False), ("targets b.md", "b.md", "target", True),
        ("the target is what we want: b.md", "b.md", "target", False), ("target source b.md", "b.md", "source", True),
    ],
)  # fmt: skip
def test_a_word_of_the_name_beside_a_value_names_it(text: str, value: str, slot: str, expected: bool) -> None:
    page = page_of(text)
    number = slot_number(page, slot)
    assert named(page, number, page.find(number, value)[0]) is expected


def test_words_that_several_slots_share_name_none() -> None:
    page = page_of("a target is b.md")
    target = slot_number(page, "target")
    twins = tuple(
        replace(slot, path=("target", slot.path[-1])) if n == target - 1 else slot for n, slot in enumerate(page.slots)
    )
    assert not named(replace(page, slots=twins), target, page.find(target, "b.md")[0])


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("all that is in progress", "in_progress"), ("Closed ones please", "closed"), ("reopen it", None),
        ("open or closed, whichever", None), ("nothing of the kind", None),
    ],
)  # fmt: skip
def test_the_one_option_that_is_said(text: str, option: str | None) -> None:
    page = states_page(text)
    assert said_option(page, slot_number(page, "state")) == option
    assert said_option(page, slot_number(page, "note")) is None


def test_cues_tip_the_balance_and_no_more() -> None:
    page = page_of("the target is a.md and the source b.md")
    unsure = {("source",): [("a.md", 0.6), ("b.md", 0.4)], ("target",): [("b.md", 0.6), ("a.md", 0.4)]}
    found = found_values(page, said(page, unsure))
    assert [found[slot_number(page, name)].values for name in ("source", "target")] == [("b.md",), ("a.md",)]
    sure = {("source",): [("a.md", 0.99), ("b.md", 0.01)], ("target",): [("b.md", 0.99), ("a.md", 0.01)]}
    found = found_values(page, said(page, sure))
    assert [found[slot_number(page, name)].values for name in ("source", "target")] == [("a.md",), ("b.md",)]


def test_a_said_option_makes_its_slot_given() -> None:
    page = states_page("what is closed?")
    slot = slot_number(page, "state")
    pointers = said(page, {("state",): [("open", 0.5), ("closed", 0.5)]})
    pointers.states[slot][:] = [0.6, 0.4, 0.0]
    found = found_values(page, pointers)[slot]
    assert (found.state, found.values) == (GIVEN, ("closed",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Tickets 801, 802 and 815 all go to Svetlana.", ["801", "802", "815"]),
        ("see /srv/x.md (or a@b.de): #infra!", ["/srv/x.md", "a@b.de", "#infra"]),
        ("call it 'Budget 2026', in the WMS project", ["Budget 2026", "WMS"]),
        ("Nothing of the kind, really.", []),
    ],
)  # fmt: skip
def test_what_is_hardly_said_for_nothing(text: str, said: list[str]) -> None:
    assert [text[start:end] for _, start, end in literals(page_of(text))] == said


def test_a_fact_stands_for_the_words_that_it_is_about() -> None:
    text, schema = "wait 15 minutes", {"properties": {"seconds": {"type": "integer"}}}
    tool, slots = ToolSpec("s", "wait", "", schema, "f" * 64), slots_of(schema, "seconds")
    (page,) = ReadingTemplate(tiny_pieces()).pages(Request(text), tool, slots, {"15 minutes": "900"})
    (said_so,) = literals(page)
    assert page.covers(page.find(0, 900)[0], said_so)
    assert not page.covers(page.find(0, 15)[0], (said_so[0], 0, 4))
