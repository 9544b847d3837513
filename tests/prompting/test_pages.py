"""Pages: every slot of a tool is shown, values are found where they stand, and what does not fit is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.prompting.reading import Page, ReadingTemplate
from mcp_dualtune.prompting.slots import OPTIONS, slots_of, values_of
from mcp_dualtune.types import HistoryItem, Request, ToolCall, ToolSpec
from tests.tiny_models import tiny_pieces

TEXT = {"type": "string"}
EDIT = {
    "properties": {
        "path": {"type": "string", "description": "the file"},
        "edits": {
            "type": "array",
            "items": {"type": "object", "properties": {"old": TEXT, "new": TEXT}, "required": ["old", "new"]},
        },
        "mode": {"enum": ["fast", "slow"]},
        "dry": {"type": "boolean"},
        "head": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "size": {"type": "number"},
        "any": {},
    },
    "required": ["path"],
}


def paths(schema: dict[str, Any], name: str) -> list[tuple[str, ...]]:
    return [slot.path for slot in slots_of(schema, name)]


def page_of(text: str, schema: dict[str, Any] = EDIT, **request: Any) -> Page:
    tool = ToolSpec("s", "edit_file", "Edits it.", schema, "")
    slots = [slot for name in schema["properties"] for slot in slots_of(schema, name)]
    (page,) = ReadingTemplate(tiny_pieces()).pages(Request(text, **request), tool, slots, {"Tokyo": "Asia/Tokyo"})
    return page


def index(page: Page, *path: str) -> int:
    return [slot.path for slot in page.slots].index(path)


def test_properties_become_slots() -> None:
    assert paths(EDIT, "path") == [("path",)]
    assert paths(EDIT, "edits") == [("edits", "[]", "old"), ("edits", "[]", "new")]
    assert slots_of(EDIT, "path")[0].required
    assert not slots_of(EDIT, "edits")[0].required  # required inside an object that is not
    assert slots_of(EDIT, "head")[0].schema["type"] == "integer"
    assert [slot.many for name in ("path", "edits") for slot in slots_of(EDIT, name)] == [False, True, True]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["string", "integer"]},
        {"enum": [str(number) for number in range(OPTIONS + 1)]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array"},
        {"type": "object", "properties": {"fine": TEXT, "not": {}}},
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": TEXT}}},
        {"type": "object", "properties": {str(number): TEXT for number in range(20)}},
    ],
)
def test_what_cannot_be_read_has_no_slots(schema: dict[str, Any]) -> None:
    assert slots_of({"properties": {"x": schema}}, "x") == []


def test_values_of_nested_slots_are_collected_in_order() -> None:
    arguments = {"path": "a", "edits": [{"old": "x", "new": "y"}, {"old": "z"}]}
    slots = [slot for name in ("path", "edits", "mode") for slot in slots_of(EDIT, name)]
    assert [values_of(slot, arguments) for slot in slots] == [["a"], ["x", "z"], ["y"], []]


def test_every_slot_has_its_mark_and_only_its_own_options() -> None:
    page = page_of("change it")
    mask = tiny_pieces().mask_token_id
    assert [token for token, number in enumerate(page.tokens) if number == mask] == list(page.marks)
    assert len(page.marks) == len(page.slots) == len({slot.path for slot in page.slots})
    mode, dry = index(page, "mode"), index(page, "dry")
    assert page.value(mode, page.find(mode, "slow")[0]) == "slow"
    assert page.value(dry, page.find(dry, True)[0]) is True
    assert page.find(dry, "slow") == []
    slow = page.find(mode, "slow")[0]
    assert page.begins(mode)[slow[0]] and page.finishes(mode)[slow[1]]
    assert not page.begins(dry)[slow[0]]
    assert page.value(dry, slow) is None


def test_values_are_found_everywhere_they_stand_as_whole_words() -> None:
    page = page_of("in a.txt and ba.txt, a.txt again; 1 of 10, ten, 1.5")
    path, head, size = index(page, "path"), index(page, "head"), index(page, "size")
    assert len(page.find(path, "a.txt")) == 2
    assert [page.value(path, span) for span in page.find(path, "a.txt")] == ["a.txt"] * 2
    assert page.find(path, "b.txt") == []
    assert len(page.find(head, 10)) == 2  # in digits and in words
    assert len(page.find(head, 1)) == 1  # neither in 10 nor in 1.5
    assert len(page.find(size, 1.5)) == 1
    assert page.value(head, page.find(size, 1.5)[0]) is None
    assert page.value(size, page.find(path, "a.txt")[0]) is None


@pytest.mark.parametrize(
    ("text", "value", "is_one"),
    [
        ("open C:\\data\\a b.txt now", "C:\\data\\a b.txt", True),
        ("see notes/a.md.", "notes/a.md", True),
        ("see notes/a.md.", "notes/a.md.", False),
        ("see notes/a.md.", "notes/a.md", True),
        ("see my notes.", "my notes.", True),
        ("see notes/a.md.", "a.md", False),
        ("see notes/a.md.", "notes", False),
        ("what is don:core/0:a?", "don:core/0:a", True),
        ("what is don:core/0:a?", "core/0:a", False),
        ("ask @ana, #42", "ana", True),
        ("ask @ana, #42", "42", True),
        ("mail a@b.c", "b.c", False),
        ("--head=5 'x y'", "5", True),
        ("--head=5 'x y'", "x y", True),
        ("Bob's file", "Bob", True),
        ("say 'hello there' now", "hello there", True),
        ("say 'hello there' now", "hello", False),
        ("say 'hello there' now", "say 'hello", False),
        ("say 'hello there' now", "say 'hello there' now", True),
        ('call it "Dinner\'s at 8"', "Dinner's at 8", True),
        ("don't touch Bob's files", "touch Bob's files", True),
    ],
)
def test_texts_begin_and_end_at_words(text: str, value: str, is_one: bool) -> None:
    page = page_of(text)
    found = page.find(index(page, "path"), value)
    assert bool(found) == is_one
    assert all(page.value(index(page, "path"), span) == value for span in found)


def test_facts_and_results_are_read_and_calls_are_not() -> None:
    history = (HistoryItem(ToolCall("s", "find_files", {"name": "list"}), "found notes/a.md"),)
    page = page_of("open list in Tokyo", history=history)
    path = index(page, "path")
    assert len(page.find(path, "Asia/Tokyo")) == 1
    assert len(page.find(path, "notes/a.md")) == 1
    assert len(page.find(path, "list")) == 1
    assert page.find(path, "files") == []


def test_a_span_over_two_sources_is_no_value() -> None:
    page = page_of("open it")
    path = index(page, "path")
    first, last = page.find(path, "it")[0][0], page.find(path, "Asia/Tokyo")[0][1]
    assert page.value(path, (first, last)) is None
    assert page.value(path, (last, first)) is None
    assert page.value(path, (0, 0)) is None


def test_marks_written_in_texts_stay_text() -> None:
    page = page_of("write [MASK] [SEP] [CLS]")
    ids = tiny_pieces()
    assert page.tokens.count(ids.mask_token_id) == len(page.slots)
    assert page.tokens.count(ids.cls_token_id) == 1


def test_many_slots_take_several_pages_and_a_request_that_is_too_long_takes_none() -> None:
    schema = {"properties": {f"name_{number}": {"type": "string", "description": "x" * 30} for number in range(40)}}
    tool = ToolSpec("s", "t", "", schema, "")
    slots = [slot for name in schema["properties"] for slot in slots_of(schema, name)]
    template = ReadingTemplate(tiny_pieces())
    pages = template.pages(Request("go"), tool, slots, {})
    assert len(pages) > 1
    assert [slot for page in pages for slot in page.slots] == slots
    assert all(len(page.tokens) <= 512 for page in pages)
    assert template.pages(Request("go " * 400), tool, slots, {}) == []


def test_a_long_result_is_cut_to_the_page() -> None:
    history = (HistoryItem(ToolCall("s", "read", {}), "abc " * 600),)
    page = page_of("open it", history=history)
    assert 400 < len(page.tokens) <= 512
