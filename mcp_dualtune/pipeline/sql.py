"""SQL written down from its parts: table, columns, conditions.

Owns one style: keywords in capitals, single spaces, single quotes, no semicolon. Names and values are quoted where they
need it, so that nothing in them becomes part of the statement. What the parts are is `statements`' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from mcp_dualtune.prompting.numerals import NUMBER, number_of
from mcp_dualtune.prompting.reading import quoted
from mcp_dualtune.types import JSON

TESTS = {
    "equal": "=", "not equal": "!=", "more than": ">", "at least": ">=", "less than": "<", "at most": "<=",
    "between": "BETWEEN", "contains": "LIKE", "begins with": "LIKE", "ends with": "LIKE", "empty": "IS NULL",
    "filled": "IS NOT NULL",
}  # fmt: skip
"""How a column is compared."""
LIKE = {"contains": "%{}%", "begins with": "{}%", "ends with": "%{}"}
ALONE = ("empty", "filled")
"""Tests without a value."""
FIGURES = {
    "COUNT": "COUNT(*)", "SUM": "SUM({})", "AVG": "AVG({})", "MAX": "MAX({})", "MIN": "MIN({})",
    "DISTINCT": "DISTINCT {}", "COUNT DISTINCT": "COUNT(DISTINCT {})",
}  # fmt: skip
CHANGES = {"set to": None, "raised by": "+", "lowered by": "-"}
"""How values change, and the sign between the old one and what is said."""
TYPES = {
    "REAL": r"reals?|floats?|floating|decimals?|doubles?",
    "INTEGER": r"integers?|int|(?:whole )?numbers?",
    "TEXT": r"text|strings?|varchar|words",
    "TIMESTAMP": r"timestamps?|date ?times?",
    "DATE": r"dates?|days?",
    "BOOLEAN": r"booleans?|bool|yes(?:/| or )no|true(?:/| or )false",
    "BLOB": r"blobs?",
}
LIMITS = {
    "PRIMARY KEY": r"primary key",
    "AUTOINCREMENT": r"auto.?increment(?:s|ing)?",
    "NOT NULL": r"(?:not|never|can't|cannot)(?: be)? (?:null|empty)|required|mandatory",
    "UNIQUE": r"unique",
}
"""What people say behind the name of a new column, and what it means."""
DEFAULT = re.compile(r"\bdefaults?(?: to| is|:)? (?P<value>'[^']*'|[^\s,;)]+)", re.IGNORECASE)
NAME = re.compile(r"[^\W\d]\w*")
RESERVED = frozenset((
    "add", "all", "alter", "and", "as", "autoincrement", "between", "case", "cast", "check", "collate", "commit",
    "constraint", "create", "default", "deferrable", "delete", "distinct", "drop", "else", "escape", "except",
    "exists", "foreign", "from", "group", "having", "if", "in", "index", "insert", "intersect", "into", "is",
    "isnull", "join", "limit", "not", "nothing", "notnull", "null", "on", "or", "order", "primary", "raise",
    "references", "returning", "select", "set", "table", "then", "to", "transaction", "union", "unique", "update",
    "using", "values", "when", "where",
))  # fmt: skip
"""Words of SQL that are names only between quotation marks."""
DIGITS = re.compile(r"-?\d+(?:\.\d+)?")

Parts = Mapping[str, JSON]


def write(action: str, parts: Parts, text: str) -> str | None:
    """The statement for `action` (show, insert, update, delete, create) with `parts` that were read in `text`; None
    where too few of them were."""
    try:
        return _WRITERS[action](parts, text)
    except KeyError:
        return None


def _show(parts: Parts, text: str) -> str:
    columns, figure = [_name(column) for column in parts.get("columns") or ()], parts.get("figure")
    groups = [_name(parts["group_by"])] if "group_by" in parts else []
    wanted = columns or ["*"]
    if figure:
        of = columns[0] if columns else "" if figure == "COUNT" else _lacking("columns")
        wanted = [*groups, FIGURES[figure].format(of)]
    query = f"SELECT {', '.join(wanted)} FROM {_name(parts['table'])}{_where(parts, text)}"
    query += f" GROUP BY {groups[0]}" if groups else ""
    if "sort_by" in parts:
        query += f" ORDER BY {_name(parts['sort_by'])}{' DESC' if parts.get('descending') else ''}"
    return query + (f" LIMIT {parts['limit']}" if "limit" in parts else "")


def _insert(parts: Parts, text: str) -> str:
    columns, values = zip(*_pairs(parts, text), strict=True)
    return f"INSERT INTO {_name(parts['table'])} ({', '.join(columns)}) VALUES ({', '.join(values)})"


def _update(parts: Parts, text: str) -> str:
    sign = CHANGES[parts.get("change", "set to")]
    changes = [f"{column} = {f'{column} {sign} ' if sign else ''}{value}" for column, value in _pairs(parts, text)]
    return f"UPDATE {_name(parts['table'])} SET {', '.join(changes)}{_chosen(parts, text)}"


def _delete(parts: Parts, text: str) -> str:
    return f"DELETE FROM {_name(parts['table'])}{_chosen(parts, text)}"


def _create(parts: Parts, text: str) -> str:
    unless = "IF NOT EXISTS " if parts.get("unless_there") else ""
    return f"CREATE TABLE {unless}{_name(parts['table'])} ({', '.join(_definitions(parts['columns'], text))})"


_WRITERS = {"show": _show, "insert": _insert, "update": _update, "delete": _delete, "create": _create}


def _where(parts: Parts, text: str) -> str:
    """The WHERE clause, if any.

    Raises:
        KeyError: a condition lacks its column or value.
    """
    if parts.keys().isdisjoint(("where_column", "where_test", "where_value")):
        return ""
    column, test = parts["where_column"], parts.get("where_test", "equal")
    first = [] if test in ALONE else [parts["where_value"]]
    if test == "between":
        return " WHERE " + _condition(column, test, [*first, parts["also_value"]], text)
    where = " WHERE " + _condition(column, test, first, text)
    if "also_value" not in parts and parts.get("also_test") not in ALONE:
        return where
    other = parts.get("also_test", test)
    second = [] if other in ALONE else [parts["also_value"]]
    if (test, other, parts.get("also")) == ("equal", "equal", "or") and "also_column" not in parts:
        return f" WHERE {_name(column)} IN ({_literal(first[0], text)}, {_literal(second[0], text)})"
    joined = str(parts.get("also", "and")).upper()
    return f"{where} {joined} {_condition(parts.get('also_column', column), other, second, text)}"


def _chosen(parts: Parts, text: str) -> str:
    """The WHERE clause of a statement that changes what is there: all rows only where that is said.

    Raises:
        KeyError: neither a condition nor that all rows are meant.
    """
    return _where(parts, text) or ("" if parts.get("every_row") else _lacking("where_column"))


def _condition(column: str, test: str, values: Sequence[str], text: str) -> str:
    literals = [_text(LIKE[test].format(value)) if test in LIKE else _literal(value, text) for value in values]
    return f"{_name(column)} {TESTS[test]}{' ' if literals else ''}{' AND '.join(literals)}"


def _pairs(parts: Parts, text: str) -> Iterator[tuple[str, str]]:
    """Columns and their values in SQL.

    Raises:
        KeyError: there are not as many values as columns.
    """
    columns, values = parts["columns"], parts["values"]
    if len(columns) != len(values):
        _lacking("values")
    return ((_name(column), _literal(value, text)) for column, value in zip(columns, values, strict=True))


def _definitions(columns: Sequence[str], text: str) -> Iterator[str]:
    """New columns as `text` describes them, each behind its name and before the next one."""
    places, at = [], 0
    for column in columns:
        found = re.compile(rf"(?<!\w){re.escape(column)}(?!\w)").search(text, at)
        places.append(found.span() if found else (at, at))
        at = places[-1][1]
    ends = [*(start for start, _ in places[1:]), len(text)]
    for column, (_, start), end in zip(columns, places, ends, strict=True):
        said = text[start:end]
        kind = next(iter(_meant(TYPES, said)), "TEXT")
        default = [f"DEFAULT {_literal(match['value'].strip(chr(39)), '')}" for match in DEFAULT.finditer(said)]
        yield " ".join([_name(column), kind, *_meant(LIMITS, said), *default])


def _meant(words: Mapping[str, str], said: str) -> list[str]:
    return [meaning for meaning, one in words.items() if re.search(rf"\b(?:{one})\b", said, re.IGNORECASE)]


def _name(text: str) -> str:
    """A name in SQL; the parts of a qualified one (`sales.orders`) are names of their own."""
    parts = text.split(".") if all(text.split(".")) else [text]
    return ".".join(
        part if NAME.fullmatch(part) and part.lower() not in RESERVED else '"' + part.replace('"', '""') + '"'
        for part in parts
    )


def _literal(value: str, text: str) -> str:
    """A value in SQL: numbers as they are, those in words too; what `text` has between quotation marks is text."""
    if value in (text[start:end] for start, end in quoted(text)):
        return _text(value)
    if DIGITS.fullmatch(value):
        return value
    number = number_of(value) if NUMBER.fullmatch(value) else None
    return _text(value) if number is None else str(number)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _lacking(part: str) -> str:
    raise KeyError(part)
