"""SQL taken apart into the slots of a sketch (`pipeline/statements.py`): what a request with its SQL teaches.

Reads one style only, that of `pipeline/sql.py`, and only what a sketch can say.
"""

from __future__ import annotations

import re

from mcp_dualtune.pipeline.sql import CHANGES, DIGITS, FIGURES, LIKE, TESTS
from mcp_dualtune.prompting.numerals import NUMBER, number_of
from mcp_dualtune.types import JSON

STRING = r"'(?:[^']|'')*'"
VALUE = rf"(?:{STRING}|-?\d+(?:\.\d+)?)"
NAME = r"(?:\"[^\"]+\"|[^\W\d][\w.]*)"
CONDITION = (
    rf"{NAME} (?:(?:=|!=|<>|>=|<=|>|<) {VALUE}|LIKE {STRING}|IS NULL|IS NOT NULL|BETWEEN {VALUE} AND {VALUE}"
    rf"|IN \({VALUE}, {VALUE}\))"
)
WHERE = rf"(?: WHERE (?P<first>{CONDITION})(?: (?P<also>AND|OR) (?P<second>{CONDITION}))?)?"
CHANGE = rf"(?P<column>{NAME}) = (?:(?P<old>{NAME}) (?P<sign>[+-]) )?(?P<value>{VALUE})"
SHOW = re.compile(
    rf"SELECT (?P<wanted>.+?) FROM (?P<table>{NAME}){WHERE}(?: GROUP BY (?P<group>{NAME}))?"
    rf"(?: ORDER BY (?P<sort>{NAME})(?P<down> DESC)?)?(?: LIMIT (?P<limit>\d+))?"
)
VALUES = rf"\((?P<values>{VALUE}(?:, {VALUE})*)\)"
INSERT = re.compile(rf"INSERT INTO (?P<table>{NAME}) \((?P<columns>[^)]+)\) VALUES {VALUES}")
UPDATE = re.compile(rf"UPDATE (?P<table>{NAME}) SET (?P<changes>.+?){WHERE}")
DELETE = re.compile(rf"DELETE FROM (?P<table>{NAME}){WHERE}")
CREATE = re.compile(rf"CREATE TABLE (?P<unless>IF NOT EXISTS )?(?P<table>{NAME}) \((?P<columns>.+)\)")
SIGNS = {sign: test for test, sign in TESTS.items() if sign != "LIKE"} | {"<>": "not equal"}

Parts = dict[str, JSON]


def taken_apart(query: str) -> tuple[str, Parts] | None:
    """(action, what the slots of its sketch have) of a statement; None where no sketch can say it."""
    for action, pattern, read in (
        ("show", SHOW, _show), ("insert", INSERT, _insert), ("update", UPDATE, _update), ("delete", DELETE, _delete),
        ("create", CREATE, _create),
    ):  # fmt: skip
        if found := pattern.fullmatch(query):
            parts = read(found)
            return None if parts is None else (action, {"table": _plain(found["table"]), **parts})
    return None


def _show(found: re.Match[str]) -> Parts | None:
    conditions, wanted = _conditions(found), found["wanted"]
    if conditions is None:
        return None
    parts: Parts = {"group_by": _plain(found["group"])} if found["group"] else {}
    wanted = wanted.removeprefix(f"{found['group']}, ") if found["group"] else wanted
    for figure in FIGURES:
        if of := re.fullmatch(re.escape(FIGURES[figure]).replace(r"\{\}", f"({NAME})"), wanted):
            parts |= {"figure": figure, "columns": list(map(_plain, of.groups()))}
            break
    else:
        columns = [] if wanted == "*" else wanted.split(", ")
        if (columns and found["group"]) or not all(re.fullmatch(NAME, column) for column in columns):
            return None
        parts |= {"columns": list(map(_plain, columns))}
    parts |= {"sort_by": _plain(found["sort"])} if found["sort"] else {}
    parts |= {"descending": True} if found["down"] else {}
    parts |= {"limit": int(found["limit"])} if found["limit"] else {}
    return {name: value for name, value in (parts | conditions).items() if value != []}


def _insert(found: re.Match[str]) -> Parts:
    values = [_value(value) for value in re.findall(VALUE, found["values"])]
    return {"columns": list(map(_plain, found["columns"].split(", "))), "values": values}


def _update(found: re.Match[str]) -> Parts | None:
    conditions, changes = _conditions(found), list(re.finditer(CHANGE, found["changes"]))
    same = ", ".join(change[0] for change in changes) == found["changes"]
    signs = {change["sign"] for change in changes if change["old"] in (None, change["column"])}
    if conditions is None or not same or len(signs) != 1:
        return None
    (sign,) = signs
    change = next(name for name, its_sign in CHANGES.items() if its_sign == sign)
    columns = [_plain(one["column"]) for one in changes]
    parts: Parts = {"columns": columns, "values": [_value(one["value"]) for one in changes], "change": change}
    return parts | (conditions or {"every_row": True})


def _delete(found: re.Match[str]) -> Parts | None:
    conditions = _conditions(found)
    return conditions if conditions is None else conditions or {"every_row": True}


def _create(found: re.Match[str]) -> Parts | None:
    columns = [re.match(NAME, definition) for definition in found["columns"].split(", ")]
    if not all(columns):
        return None
    parts: Parts = {"columns": [_plain(column[0]) for column in columns if column]}
    return parts | ({"unless_there": True} if found["unless"] else {})


def _conditions(found: re.Match[str]) -> Parts | None:
    if not found["first"]:
        return {}
    column, test, values = _condition(found["first"])
    parts: Parts = {"where_column": column, "where_test": test}
    parts |= dict(zip(("where_value", "also_value"), values, strict=False))
    if test == "equal" and len(values) > 1:
        parts["also"] = "or"
    if found["second"] is None:
        return parts
    other, its_test, its_values = _condition(found["second"])
    if len(values) > 1 or len(its_values) > 1:
        return None  # a second condition beside a range
    parts |= {"also": found["also"].lower(), "also_test": its_test}
    parts |= {"also_value": its_values[0]} if its_values else {}
    return parts | ({"also_column": other} if other != column else {})


def _condition(text: str) -> tuple[str, str, list[str]]:
    """(column, test, values)."""
    column = re.match(NAME, text)
    assert column is not None
    rest = text[column.end() + 1 :]
    values = [_value(value) for value in re.findall(VALUE, rest)]
    if rest.startswith("LIKE"):
        test = next((test for test, form in LIKE.items() if re.fullmatch(form.format("[^%]+"), values[0])), "equal")
        return _plain(column[0]), test, [values[0].strip("%")]
    test = "equal" if rest.startswith("IN") else "between" if rest.startswith("BETWEEN") else ""
    return _plain(column[0]), test or SIGNS.get(rest, "") or SIGNS[rest.split()[0]], values


def _plain(name: str) -> str:
    return name.strip('"')


def _value(literal: str) -> str:
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal


def as_said(parts: Parts, text: str) -> Parts:
    """`parts` with numbers as `text` has them: in words, perhaps."""

    def said(value: str) -> str:
        if DIGITS.fullmatch(value) and not re.search(rf"(?<![\w.]){re.escape(value)}(?!\w)", text):
            return next((found[0] for found in NUMBER.finditer(text) if number_of(found[0]) == float(value)), value)
        return value

    single = {name: said(parts[name]) for name in ("where_value", "also_value") if name in parts}
    return parts | single | ({"values": list(map(said, parts["values"]))} if "values" in parts else {})
