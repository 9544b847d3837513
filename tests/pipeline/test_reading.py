"""Arguments read off a page: objects, lists, and when a reading is left to the model that writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import Comparison, Pointers, PointRequest, Tokens
from mcp_dualtune.pipeline.reading import Reader, assemble
from mcp_dualtune.prompting.reading import ELSEWHERE, Page, ReadingTemplate
from mcp_dualtune.types import JSON, Request
from tests.pipeline.pointing import SCHEMA, TOOL, said
from tests.tiny_models import tiny_manifest, tiny_pieces


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

    def compare(self, text: Tokens, passages: Sequence[Tokens], cancel: Event | None = None) -> list[Comparison]:
        return [Comparison(0.0, (0.0,) * (len(text) - 2)) for _ in passages]


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    tiny_manifest(tmp_path / "reading", "b" * 64, "arguments")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "reading" / name).write_bytes(b"{}")
    return AdapterStore([tmp_path], "b" * 64)


def read(engine: Pointing, store: AdapterStore, text: str, names: Sequence[str] = ()) -> Any:
    reader = Reader(engine, ReadingTemplate(tiny_pieces()), store)
    return reader.read(Request(text), TOOL, names or list(SCHEMA["properties"]), {}, Event())


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
    assert 0.5 < found.probability <= 1.0


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
