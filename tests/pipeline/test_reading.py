"""What an encoder's pointing comes to: values, objects, lists; and when a reading is left to the model that writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import Pointers, PointRequest
from mcp_dualtune.pipeline.reading import Reader, assemble, found_values
from mcp_dualtune.prompting.reading import ABSENT, ELSEWHERE, GIVEN, Page, ReadingTemplate, slots_of
from mcp_dualtune.types import JSON, Request, ToolSpec
from tests.tiny_models import tiny_manifest, tiny_pieces

TEXT = {"type": "string"}
SCHEMA = {
    "properties": {
        "source": TEXT,
        "target": TEXT,
        "names": {"type": "array", "items": TEXT},
        "links": {"type": "array", "items": {"type": "object", "properties": {"a": TEXT, "b": TEXT}}},
        "count": {"type": "integer"},
    },
    "required": ["source"],
}
TOOL = ToolSpec("s", "move", "", SCHEMA, "f" * 64)
FAR = -30.0


def slot_number(page: Page, *path: str) -> int:
    return [slot.path for slot in page.slots].index(path)


def said(page: Page, values: Mapping[tuple[str, ...], Sequence[tuple[JSON, float]]]) -> Pointers:
    """Pointers that hold these values of slots for likely (value, probability), and all other slots for absent."""
    width, rows = len(page.tokens), range(len(page.slots))
    states = [[1.0, 0.0, 0.0] for _ in rows]
    starts, begun = ([[low] * width for _ in rows] for low in (FAR, 0.0))
    ends: list[dict[int, list[float]]] = [{} for _ in rows]
    for path, likely in values.items():
        slot = slot_number(page, *path)
        states[slot] = [0.0, 1.0, 0.0]
        for value, probability in likely:
            first, last = page.find(slot, value)[0]
            starts[slot][first] = math.log(probability)
            ends[slot][first] = [0.0 if token == last else FAR for token in range(width)]
            begun[slot][first] = probability
    return Pointers(states, starts, ends, begun)


class Pointing:
    """An engine that points where it is told."""

    def __init__(
        self, values: Mapping[tuple[str, ...], Sequence[tuple[JSON, float]]], state: int | None = None
    ) -> None:
        self.values, self.state, self.asked = values, state, 0

    def point(self, request: PointRequest, cancel: Event | None = None) -> list[Pointers]:
        self.asked += 1
        found = []
        for page in request.pages:
            assert isinstance(page, Page)
            pointers = said(page, self.values)
            if self.state is not None:
                pointers.states[0][:] = [float(self.state == state) for state in range(3)]
            found.append(pointers)
        return found


def page_of(text: str) -> Page:
    slots = [slot for name in SCHEMA["properties"] for slot in slots_of(SCHEMA, name)]  # type: ignore[attr-defined]
    return ReadingTemplate(tiny_pieces()).pages(Request(text), TOOL, slots, {})[0]


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    tiny_manifest(tmp_path / "reading", "b" * 64, "arguments")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "reading" / name).write_bytes(b"{}")
    return AdapterStore([tmp_path], "b" * 64)


def read(engine: Pointing, store: AdapterStore, text: str, names: Sequence[str] = ()) -> Any:
    reader = Reader(engine, ReadingTemplate(tiny_pieces()), store)
    return reader.read(Request(text), TOOL, names or list(SCHEMA["properties"]), {}, Event())


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
    sure = {("source",): [("b.md", 0.99), ("a.md", 0.01)], ("target",): [("b.md", 0.99), ("a.md", 0.01)]}
    found = found_values(page, said(page, sure))
    assert sorted(found[slot_number(page, name)].state for name in ("source", "target")) == [ABSENT, GIVEN]


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


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ([((), ("x",))], "x"),
        ([(("[]",), ("x", "y"))], ["x", "y"]),
        ([(("a",), ("x",)), (("b",), ())], {"a": "x"}),
        ([(("[]", "a"), ("x", "y")), (("[]", "b"), ("1", "2"))], [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}]),
        ([(("[]", "a"), ("x",)), (("[]", "b", "[]"), ("1", "2"))], [{"a": "x", "b": ["1", "2"]}]),
        (
            [(("[]", "a"), ("x", "y")), (("[]", "b", "[]"), ("1", "2"))],
            [{"a": "x", "b": ["1"]}, {"a": "y", "b": ["2"]}],
        ),
    ],
)  # fmt: skip
def test_values_of_slots_become_one_value(parts: Any, value: JSON) -> None:
    assert assemble(parts) == value


def test_values_that_do_not_say_where_they_belong_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values for 3 items"):
        assemble([(("[]", "a"), ("x", "y", "z")), (("[]", "b"), ("1", "2"))])


def test_a_reader_says_what_is_given_and_what_is_not(store: AdapterStore) -> None:
    likely = {("source",): [("a.md", 0.9)], ("links", "[]", "a"): [("b.md", 0.9)]}
    found = read(Pointing(likely), store, "move a.md to b.md")
    assert found.arguments == {"source": "a.md", "links": [{"a": "b.md"}]}
    assert set(found.absent) == {"target", "names", "count"}
    assert found.adapter is not None
    assert 0.5 < found.probability < 1.0


def test_only_the_named_parameters_are_read(store: AdapterStore) -> None:
    found = read(Pointing({("source",): [("a.md", 0.9)]}), store, "move a.md", ["source"])
    assert (found.arguments, found.absent) == ({"source": "a.md"}, [])


def test_what_is_said_elsewhere_stays_open(store: AdapterStore) -> None:
    found = read(Pointing({}, ELSEWHERE), store, "move it", ["source"])
    assert (found.arguments, found.absent, found.probability) == ({}, [], 1.0)


def test_an_unsure_reading_says_so(store: AdapterStore) -> None:
    unsure = {("source",): [("a.md", 0.34), ("b.md", 0.33), ("c.md", 0.33)]}
    found = read(Pointing(unsure), store, "move a.md, b.md, c.md", ["source"])
    assert found.arguments == {"source": "a.md"}
    assert found.probability == pytest.approx(0.34, abs=0.01)


def test_a_list_leaves_words_that_another_slot_has_read(store: AdapterStore) -> None:
    likely = {("links", "[]", "a"): [("ada", 0.9)], ("links", "[]", "b"): [("ada", 0.7), ("bob", 0.3)]}
    found = read(Pointing(likely), store, "tie ada to bob", ["links"])
    assert found.arguments == {"links": [{"a": "ada", "b": "bob"}]}


def test_lists_of_unlike_length_stay_open(store: AdapterStore) -> None:
    likely = {
        ("links", "[]", "a"): [("ada", 0.9), ("bob", 0.9), ("cy", 0.9)],
        ("links", "[]", "b"): [("x", 0.9), ("q", 0.9)],
    }
    found = read(Pointing(likely), store, "tie ada, bob, cy to x, q", ["links"])
    assert (found.arguments, found.absent, found.probability) == ({}, [], 1.0)


def test_nothing_is_read_without_an_adapter_or_when_the_request_is_too_long(
    store: AdapterStore, tmp_path: Path
) -> None:
    engine = Pointing({("source",): [("a.md", 0.9)]})
    (tmp_path / "none").mkdir()
    assert read(engine, AdapterStore([tmp_path / "none"], "b" * 64), "move a.md").arguments == {}
    assert engine.asked == 0
    assert read(engine, store, "move a.md " * 200).arguments == {}
