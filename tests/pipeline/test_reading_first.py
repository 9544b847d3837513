"""The third stage with a reader: what is read is taken, the rest is written."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.reading import Readings
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.types import AdapterRef, Decision, Request, ToolSpec
from tests.naming_engine import NamingEngine, tool

TEXT = {"type": "string"}
FILES = build_server("files", "Reads files", [tool("read", ("path",), path=TEXT, head={"type": "integer"})]).spec
CATALOG = Catalog((FILES,))


class Reads:
    """A reader that has found what a test says."""

    def __init__(self, **found: Any) -> None:
        self.found = Readings(AdapterRef("arguments", Path(), ""), **found)
        self.asked: list[list[str]] = []
        self.adapters = AdapterStore((), "d" * 64)

    def read(self, request: Request, shown: ToolSpec, names: list[str], facts: Any, cancel: Event) -> Readings:
        self.asked.append(names)
        return self.found


def reading(engine: NamingEngine, reader: Any) -> Decision:
    engine.choices = [{"files": 1.0}, {"read": 1.0}]
    pipeline = Pipeline(Seat.of(engine, AdapterStore((), engine.digest)), reader=reader)
    return pipeline.decide(Request("the first lines of notes/a.md"), CATALOG, Event())


def test_what_is_read_needs_no_writing(engine: NamingEngine) -> None:
    reader = Reads(arguments={"path": "notes/a.md"}, absent=["head"], chances={"path": 0.7, "head": 1.0})
    made = reading(engine, reader)
    assert (made.outcome, made.arguments, made.confidence) == ("call", {"path": "notes/a.md"}, pytest.approx(0.7))
    assert made.stages[2].adapter == "arguments (reading)"
    assert reader.asked == [["path", "head"]]


def test_what_is_not_read_is_written(engine: NamingEngine) -> None:
    engine.answers = ['{"head": 3}']
    engine.token_probabilities = (0.5,)
    made = reading(engine, Reads(arguments={"path": "notes/a.md"}, chances={"path": 0.7}))
    assert (made.arguments, made.confidence) == ({"path": "notes/a.md", "head": 3}, pytest.approx(0.35))
    assert made.stages[2].adapter == "arguments (reading) + base"
    assert "notes/a.md" in engine.prompts[-1] and "path" not in engine.prompts[-1].split("notes/a.md")[0]


def test_what_is_absent_is_asked_for_only_where_it_is_required(engine: NamingEngine) -> None:
    made = reading(engine, Reads(absent=["path", "head"], chances={"path": 0.9}))
    assert (made.outcome, made.missing, made.arguments) == ("ask", ("path",), {})


@pytest.mark.parametrize(("probability", "answer", "kept"), [(0.2, 3, False), (0.5, 3, True), (0.2, 7, True)])
def test_what_is_written_unsurely_and_stands_nowhere_is_left_out_where_it_is_optional(
    engine: NamingEngine, probability: float, answer: int, kept: bool
) -> None:
    engine.answers = [f'{{"path": "made/up.md", "head": {answer}}}']
    engine.token_probabilities = (probability,)
    engine.choices = [{"files": 1.0}, {"read": 1.0}]
    pipeline = Pipeline(Seat.of(engine, AdapterStore((), engine.digest)), reader=Reads())
    made = pipeline.decide(Request("7 lines, I forgot of which"), CATALOG, Event())
    assert made.arguments == {"path": "made/up.md", **({"head": answer} if kept else {})}
    assert made.confidence == pytest.approx(probability)


@pytest.mark.parametrize(("chance", "outcome"), [(0.05, "ask"), (0.15, "call")])
def test_what_is_read_very_unsurely_is_asked_for(engine: NamingEngine, chance: float, outcome: str) -> None:
    made = reading(engine, Reads(arguments={"path": "notes/a.md"}, absent=["head"], chances={"path": chance}))
    assert (made.outcome, made.missing) == (outcome, ("path",) if outcome == "ask" else ())
