"""Which words belong to which slot: values of all slots together, lists, and what stays without a value."""

from __future__ import annotations

import pytest

from mcp_dualtune.pipeline.assignment import found_values
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN
from tests.pipeline.pointing import FAR, page_of, said, slot_number


def test_the_likeliest_value_is_read() -> None:
    page = page_of("move a.md to b.md")
    pointers = said(page, {("source",): [("a.md", 0.9), ("b.md", 0.1)]})
    found = found_values(page, pointers)
    source = found[slot_number(page, "source")]
    assert (source.state, source.values) == (GIVEN, ("a.md",))
    assert source.probability == pytest.approx(0.9, abs=0.01)
    assert found[slot_number(page, "target")].state == ABSENT


def test_two_slots_never_read_the_same_words() -> None:
    page = page_of("move a.md to b.md")
    likely = {("source",): [("b.md", 0.7), ("a.md", 0.3)], ("target",): [("b.md", 0.8), ("a.md", 0.2)]}
    found = found_values(page, said(page, likely))
    assert [found[slot_number(page, name)].values for name in ("source", "target")] == [("a.md",), ("b.md",)]
    found = found_values(page, said(page, {("source",): [("b.md", 1.0)], ("target",): [("b.md", 1.0)]}))
    assert sorted(found[slot_number(page, name)].state for name in ("source", "target")) == [ABSENT, GIVEN]


def test_a_name_in_the_request_goes_to_a_slot_that_may_have_it() -> None:
    for text, state in (("move a.md to desk7", GIVEN), ("move a.md to somewhere", ABSENT)):
        page = page_of(text)
        pointers = said(page, {("source",): [("a.md", 0.9)], ("target",): [(text.split()[-1], 0.9)]})
        pointers.states[slot_number(page, "target")] = [0.7, 0.3, 0.0]
        assert found_values(page, pointers)[slot_number(page, "target")].state == state


def test_what_an_earlier_call_has_used_need_not_go_to_a_slot_again() -> None:
    page = page_of("look into log/v2 and open what is there")
    pointers = said(page, {("source",): [("log/v2", 0.3), ("what", 0.6)]})
    assert found_values(page, pointers)[slot_number(page, "source")].values == ("log/v2",)
    assert found_values(page, pointers, used={"log/v2"})[slot_number(page, "source")].values == ("what",)


def test_a_slot_is_left_out_when_its_words_belong_to_another() -> None:
    page = page_of("move a.md")
    found = found_values(page, said(page, {("source",): [("a.md", 0.9)], ("target",): [("a.md", 0.8)]}))
    pair = [found[slot_number(page, name)] for name in ("source", "target")]
    assert [one.state for one in pair] == [GIVEN, ABSENT]


def test_a_slot_without_a_value_of_its_type_is_said_elsewhere() -> None:
    page = page_of("move a.md")
    pointers = said(page, {("source",): [("a.md", 0.9)]})
    count, source = slot_number(page, "count"), slot_number(page, "source")
    for rows in (pointers.states, pointers.starts, pointers.ends):
        rows[count] = rows[source]  # type: ignore[call-overload]
    assert found_values(page, pointers)[count].state == ELSEWHERE


def test_lists_are_read_in_the_order_of_the_page() -> None:
    page = page_of("join ada, bob and cy")
    pointers = said(page, {("names", "[]"): [("cy", 0.9), ("ada", 0.95), ("bob", 0.8)]})
    names = found_values(page, pointers)[slot_number(page, "names", "[]")]
    assert names.values == ("ada", "bob", "cy")
    assert 0.3 < names.probability < 0.95


def test_a_list_has_at_least_its_likeliest_item_and_none_twice() -> None:
    page = page_of("join ada and ada")
    pointers = said(page, {("names", "[]"): [("ada", 0.4)]})
    slot = slot_number(page, "names", "[]")
    assert found_values(page, pointers)[slot].values == ("ada",)
    for first, last in page.find(slot, "ada"):
        pointers.begun[slot][first] = 0.9
        pointers.ends[slot][first] = [0.0 if token == last else FAR for token in range(len(page.tokens))]
    assert found_values(page, pointers)[slot].values == ("ada",)


def test_values_of_one_kind_are_read_in_the_order_of_the_parameters_where_nothing_else_tells() -> None:
    page = page_of("move a.md to b.md")
    even = {("source",): [("a.md", 0.45), ("b.md", 0.55)], ("target",): [("a.md", 0.55), ("b.md", 0.45)]}
    found = found_values(page, said(page, even))
    assert [found[slot_number(page, name)].values for name in ("source", "target")] == [("a.md",), ("b.md",)]
    clear = {("source",): [("a.md", 0.1), ("b.md", 0.9)], ("target",): [("a.md", 0.9), ("b.md", 0.1)]}
    found = found_values(page, said(page, clear))
    assert [found[slot_number(page, name)].values for name in ("source", "target")] == [("b.md",), ("a.md",)]


def test_the_properties_of_one_object_in_a_list_do_not_share_words() -> None:
    page = page_of("link ada and bob")
    pointers = said(page, {("links", "[]", "a"): [("bob", 0.6)], ("links", "[]", "b"): [("bob", 0.9)]})
    for name in ("a", "b"):
        slot = slot_number(page, "links", "[]", name)
        first, last = page.find(slot, "ada")[0]
        pointers.starts[slot][first] = -1.0
        pointers.ends[slot][first] = [0.0 if token == last else FAR for token in range(len(page.tokens))]
    found = found_values(page, pointers)
    values = [found[slot_number(page, "links", "[]", name)].values for name in ("a", "b")]
    assert values == [("ada",), ("bob",)]


def test_a_list_whose_words_all_belong_to_others_has_no_values() -> None:
    page = page_of("move a.md")
    pointers = said(page, {("source",): [("a.md", 0.9)], ("names", "[]"): [("a.md", 0.8)]})
    assert found_values(page, pointers)[slot_number(page, "names", "[]")].state == ABSENT


def test_items_of_one_enumeration_belong_together_even_where_the_encoder_doubts_one() -> None:
    page = page_of("tell ada, bob and eve about it")
    pointers = said(page, {("names", "[]"): [("ada", 0.5), ("bob", 0.3), ("eve", 0.2)]})
    slot = slot_number(page, "names", "[]")
    for name, begun in (("ada", 0.8), ("bob", 0.35), ("eve", 0.6)):
        pointers.begun[slot][page.find(slot, name)[0][0]] = begun
    assert found_values(page, pointers)[slot].values == ("ada", "bob", "eve")


def test_a_list_leaves_a_sure_single_value_to_its_slot() -> None:
    page = page_of("send a.md to ada and bob")
    pointers = said(page, {("source",): [("a.md", 0.95)], ("names", "[]"): [("a.md", 0.4), ("ada", 0.3), ("bob", 0.3)]})
    slot = slot_number(page, "names", "[]")
    for name in ("a.md", "ada", "bob"):
        pointers.begun[slot][page.find(slot, name)[0][0]] = 0.6
    found = found_values(page, pointers)
    assert found[slot_number(page, "source")].values == ("a.md",)
    assert found[slot].values == ("ada", "bob")
