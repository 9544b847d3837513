"""SQL that a request asks for in plain words, put together from parts that are read off the request.

A model of this size garbles a statement that it writes letter by letter. So a statement is a sketch with slots (as in
SQLNet, arXiv 1711.04436): its table, columns and conditions are read like the parameters of a tool, and `sql` writes
them down. Names and values are those of the request; what no sketch can say (joins, inner queries) is not said.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event

from mcp_dualtune.pipeline.reading import Reader
from mcp_dualtune.pipeline.sql import CHANGES, FIGURES, TESTS, write
from mcp_dualtune.prompting.slots import opened
from mcp_dualtune.prompting.templates.pairs import spaced
from mcp_dualtune.types import JSON, AdapterRef, Request, ToolSpec, canonical

SERVER, ADAPTER = "sql", "statement"
"""What the server of the sketches is called, and their adapter: one for all of them."""
BEGUN = re.compile(
    r"\s*(?:SELECT\b(?=.*\bFROM\b|\s+\d|\s+\w+\()|WITH\b.+\bAS\b|EXPLAIN\b|PRAGMA\b|(?:INSERT|REPLACE|MERGE)\b.*\bINTO\b"
    r"|UPDATE\b.+\bSET\b|DELETE\s+FROM\b|CREATE\b.+\(|(?:ALTER|DROP|TRUNCATE)\s+TABLE\b|(?:SHOW|DESCRIBE)\s)",
    re.IGNORECASE | re.DOTALL,
)
"""How a statement begins that somebody has written out."""
RUNS = re.compile(r"\b(?:run|execute|perform)s?\b[^.]*\b(?:SQL|SELECT|INSERT)\b", re.IGNORECASE)
"""What a tool's description says of a parameter that nobody explains."""
ACTIONS = {
    "show": "show rows", "insert": "add a row", "update": "change rows", "delete": "delete rows",
    "create": "create a table",
}  # fmt: skip
SPOKEN = {
    "show": re.compile(r"\bSELECT\b|\bread.?only\b", re.IGNORECASE),
    "insert": re.compile(r"\b(?:INSERT|DML)\b", re.IGNORECASE),
    "update": re.compile(r"\b(?:UPDATE|DML)\b", re.IGNORECASE),
    "delete": re.compile(r"\b(?:DELETE|DML)\b", re.IGNORECASE),
    "create": re.compile(r"\b(?:CREATE|DDL|create_table)\b"),
}
"""How a tool's texts say which statements it takes."""


def _text(about: str) -> JSON:
    return {"type": "string", "description": about}


def _name(about: str) -> JSON:
    return {"type": "string", "format": "identifier", "description": about}


def _names(about: str) -> JSON:
    return {"type": "array", "items": {"type": "string", "format": "identifier"}, "description": about}


def _texts(about: str) -> JSON:
    return {"type": "array", "items": {"type": "string"}, "description": about}


def _one_of(options: Sequence[str], about: str) -> JSON:
    return {"type": "string", "enum": list(options), "description": about}


def _said(about: str) -> JSON:
    return {"type": "boolean", "description": about}


def _sketch(name: str, description: str, **slots: JSON) -> ToolSpec:
    schema = {"type": "object", "properties": slots, "required": ["table"] if "table" in slots else list(slots)}
    return ToolSpec(SERVER, name, description, schema, "")


_TABLE = _name("name of the table")
_CONDITIONS = {
    "where_column": _name("column that a condition is about"),
    "where_test": _one_of(list(TESTS), "how it is compared"),
    "where_value": _text("what it is compared with"),
    "also": _one_of(["and", "or"], "how a second condition is joined"),
    "also_column": _name("column of the second condition"),
    "also_test": _one_of(list(TESTS), "how that is compared"),
    "also_value": _text("what that is compared with, or the end of a range"),
}
_EVERY = {"every_row": _said("all rows are meant, without a condition")}
SKETCHES = {
    "show": _sketch(
        "show_rows", "Show rows of a database table, or a figure worked out of them",
        table=_TABLE, columns=_names("names of the columns that are wanted"),
        figure=_one_of(list(FIGURES), "what is worked out of them"), **_CONDITIONS,
        group_by=_name("column for each of whose values there is one row"),
        sort_by=_name("column that the rows are sorted by"), descending=_said("largest or latest first"),
        limit={"type": "integer", "description": "how many rows at most"},
    ),
    "insert": _sketch(
        "add_row", "Add a row to a database table",
        table=_TABLE, columns=_names("names of the columns"), values=_texts("their values, in the same order"),
    ),
    "update": _sketch(
        "change_rows", "Change values in rows of a database table",
        table=_TABLE, columns=_names("names of the columns that change"),
        values=_texts("their new values, in the same order"), change=_one_of(list(CHANGES), "how they change"),
        **_CONDITIONS, **_EVERY,
    ),
    "delete": _sketch("delete_rows", "Delete rows of a database table", table=_TABLE, **_CONDITIONS, **_EVERY),
    "create": _sketch(
        "create_table", "Create a database table",
        table=_TABLE, columns=_names("names of the new columns"),
        unless_there=_said("only if there is no such table yet"),
    ),
}  # fmt: skip
"""By action. Their properties are the parts that `sql.write` takes."""
FINGERPRINT = hashlib.sha256(canonical([sketch.input_schema for sketch in SKETCHES.values()]).encode()).hexdigest()
"""What the adapter is bound to."""


@dataclass(frozen=True)
class Statement:
    """SQL that was put together; None where parts are missing."""

    query: str | None
    probability: float
    adapter: AdapterRef | None


def choose_action(actions: Sequence[str]) -> ToolSpec:
    """The sketch that says which of several `actions` is asked for."""
    options = [ACTIONS[action] for action in actions]
    return _sketch("work_on_table", "Work on a database table", action=_one_of(options, "what is done with the table"))


def actions_of(tool: ToolSpec, name: str) -> tuple[str, ...]:
    """What the SQL may do that the parameter `name` of `tool` takes; empty where it takes none."""
    schema = opened((tool.input_schema.get("properties") or {}).get(name))
    named = spaced(name).lower().split()[-1:] in (["sql"], ["query"], ["statement"], ["command"])
    if not named or schema.get("type") != "string" or "enum" in schema:
        return ()
    about = schema.get("description")
    about = about if isinstance(about, str) else ""
    spoken = re.search(r"\bsql\b", f"{spaced(name)} {about}", re.IGNORECASE) or (
        not about and RUNS.search(tool.description)
    )
    if not spoken or "natural language" in about.lower():
        return ()
    texts = f"{about} {tool.name} {tool.description}"
    return tuple(action for action, said in SPOKEN.items() if said.search(texts)) or tuple(SKETCHES)


def is_written(text: str) -> bool:
    """Whether `text` is a statement, not a request in words of SQL: one in capitals, or one that SQLite can parse."""
    if not BEGUN.match(text):
        return False
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute(f"EXPLAIN {text}")
    except sqlite3.Error as error:
        return text.split()[0].isupper() or "no such" in str(error)
    return True


def read_statement(reader: Reader, request: Request, actions: Sequence[str], cancel: Event) -> Statement:
    """The SQL for `request`, which does one of `actions`.

    Raises:
        AdapterError, Cancelled: as `PointingEngine.point`.
    """
    adapter = reader.adapters.best("arguments", SERVER, ADAPTER, FINGERPRINT)
    own = adapter if adapter and adapter.below else None  # the generic one reads a sketch as it reads any tool
    action, probability = actions[0], 1.0
    if len(actions) > 1:
        chosen = reader.read(request, choose_action(actions), ["action"], {}, cancel, own)
        option = chosen.arguments.get("action", ACTIONS[action])
        action, probability = next(one for one in actions if ACTIONS[one] == option), chosen.probability
    sketch = SKETCHES[action]
    read = reader.read(request, sketch, list(sketch.input_schema["properties"]), {}, cancel, own)
    parts = dict(read.arguments)
    if "sort_by" in parts and "limit" not in (*parts, *read.absent):
        parts["limit"] = 1  # said in other words: the dearest one
    return Statement(write(action, parts, request.text), probability * read.probability, adapter)
