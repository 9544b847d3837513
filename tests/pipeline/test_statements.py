"""Which parameters take SQL, and statements from what is read of their sketches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.reading import Readings
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.pipeline.statements import SERVER, SKETCHES, actions_of, choose_action, is_written
from mcp_dualtune.prompting.slots import OPTIONS, slots_of
from mcp_dualtune.types import AdapterRef, Decision, Request, ToolSpec
from tests.naming_engine import NamingEngine

CHANGES = ("insert", "update", "delete")


def asked(description: str, name: str, about: str | None = None, **more: Any) -> tuple[str, ...]:
    part = {"type": "string", **({"description": about} if about else {}), **more}
    return actions_of(ToolSpec("s", "run", description, {"properties": {name: part}}, ""), name)


@pytest.mark.parametrize(
    ("description", "name", "about", "actions"),
    [
        ("Execute a SELECT query on the SQLite database", "query", "SELECT SQL query to execute", ("show",)),
        ("Execute an INSERT, UPDATE, or DELETE query", "query", "SQL query to execute", CHANGES),
        ("Create a new table", "query", "CREATE TABLE SQL statement", ("create",)),
        ("Run a read-only SQL query", "sql", None, ("show",)),
        ("Runs a statement against a database.", "Sql", "The SQL statement to run.", tuple(SKETCHES)),
        ("Searches the handbook of SQL", "query", None, ()),
        ("Search the web", "query", "what to look for", ()),
        ("Get a plan", "sql_id", "SQL identifier", ()),
        ("Ask the database", "query", "Natural language, turned into SQL", ()),
    ],
)
def test_which_parameters_take_which_statements(
    description: str, name: str, about: str | None, actions: tuple[str, ...]
) -> None:
    assert asked(description, name, about) == actions


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("select a.x from a join b on a.id = b.id", True),
        ("SELECT x::int FROM a WHERE y ILIKE 'z%'", True),
        ("INSERT INTO a (x) VALUES (1)", True),
        ("delete from a where x = 1", True),
        ("CREATE TABLE a (x INTEGER)", True),
        ("select 1", True),
        ("select all customers", False),
        ("select everyone from users older than 60", False),
        ("Delete the row with id 42 out of bookings", False),
        ("update the price of tea to 3", False),
        ("create a table plants with species and height", False),
        ("the bookings table", False),
        ("", False),
    ],
)
def test_requests_in_words_of_sql_are_no_statements(text: str, written: bool) -> None:
    assert is_written(text) == written


@pytest.mark.parametrize("name", ["", "_", "  "])
def test_a_parameter_without_a_name_takes_no_sql(name: str) -> None:
    assert asked("Run SQL", name, "SQL") == ()


def test_options_are_no_statements() -> None:
    assert asked("Run SQL", "query", "a SQL query", enum=["a", "b"]) == ()


@pytest.mark.parametrize("sketch", [*SKETCHES.values(), choose_action(list(SKETCHES))], ids=lambda sketch: sketch.name)
def test_every_slot_of_a_sketch_can_be_read(sketch: ToolSpec) -> None:
    for name in sketch.input_schema["properties"]:
        assert slots_of(sketch.input_schema, name), name
        assert len(sketch.input_schema["properties"][name].get("enum", ())) <= OPTIONS


class Reads:
    """A reader that finds of each tool what a test says."""

    def __init__(self, **found: Readings) -> None:
        self.found, self.asked = found, list[tuple[str, str]]()
        self.adapters = AdapterStore((), "d" * 64)

    def read(
        self, request: Request, tool: ToolSpec, names: Sequence[str], facts: Any, cancel: Event, adapter: Any = None
    ) -> Readings:
        self.asked.append((tool.server, tool.name))
        return self.found[tool.name]


def found(absent: Sequence[str] = (), probability: float = 1.0, **arguments: Any) -> Readings:
    chances = dict.fromkeys([*arguments, *absent][:1], probability)
    return Readings(AdapterRef("arguments", Path(), ""), arguments, list(absent), chances)


def decided(engine: NamingEngine, reader: Any, tool: str, description: str) -> Decision:
    schema = {"type": "object", "properties": {"sql": {"type": "string", "description": "SQL"}}, "required": ["sql"]}
    server = build_server("db", "A database", [{"name": tool, "description": description, "inputSchema": schema}]).spec
    engine.choices = [{"db": 1.0}, {tool: 1.0}]
    pipeline = Pipeline(Seat.of(engine, AdapterStore((), engine.digest)), reader=reader)
    return pipeline.decide(Request("how many books are there"), Catalog((server,)), Event())


def test_a_statement_is_put_together_from_its_parts(engine: NamingEngine) -> None:
    reader = Reads(
        query=found(sql="all books", probability=0.9), show_rows=found(table="books", figure="COUNT", probability=0.8)
    )
    made = decided(engine, reader, "query", "Run a SELECT")
    assert (made.outcome, made.arguments) == ("call", {"sql": "SELECT COUNT(*) FROM books"})
    assert made.confidence == pytest.approx(0.8)  # what was read in place of the statement counts no more
    assert reader.asked == [("db", "query"), (SERVER, "show_rows")]


def test_what_it_does_is_read_first_where_it_may_do_several_things(engine: NamingEngine) -> None:
    rows = found(table="books", where_column="id", where_value="7", probability=0.5)
    reader = Reads(change=found(), work_on_table=found(action="delete rows", probability=0.5), delete_rows=rows)
    made = decided(engine, reader, "change", "INSERT, UPDATE or DELETE")
    assert (made.arguments, made.confidence) == ({"sql": "DELETE FROM books WHERE id = 7"}, pytest.approx(0.25))


def test_a_statement_without_a_table_is_asked_for(engine: NamingEngine) -> None:
    made = decided(engine, Reads(query=found(), show_rows=found(absent=["table"])), "query", "Run a SELECT")
    assert (made.outcome, made.missing) == ("ask", ("sql",))
    assert made.question == "Which table, columns and values should I use for `sql` (SQL)?"


def test_one_is_meant_where_rows_are_sorted_and_their_number_is_said_in_other_words(engine: NamingEngine) -> None:
    reader = Reads(query=found(), show_rows=found(table="books", sort_by="price", descending=True))
    made = decided(engine, reader, "query", "Run a SELECT")
    assert made.arguments == {"sql": "SELECT * FROM books ORDER BY price DESC LIMIT 1"}


def test_a_statement_that_somebody_has_written_is_taken_as_it_is(engine: NamingEngine) -> None:
    reader = Reads(query=found(sql="select a.x from a join b on a.id = b.id"))
    made = decided(engine, reader, "query", "Run a SELECT")
    assert made.arguments == {"sql": "select a.x from a join b on a.id = b.id"}
    assert reader.asked == [("db", "query")]
