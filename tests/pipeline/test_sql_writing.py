"""SQL from its parts: every form runs, nothing in a name or value becomes part of the statement, nothing is made up."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_dualtune.pipeline.sql import RESERVED, TESTS, write

BOOKS = {"table": "books"}


@pytest.mark.parametrize(
    ("action", "parts", "text", "query"),
    [
        ("show", {}, "", "SELECT * FROM books"),
        ("show", {"columns": ["title", "year"], "limit": 3}, "", "SELECT title, year FROM books LIMIT 3"),
        ("show", {"figure": "COUNT"}, "", "SELECT COUNT(*) FROM books"),
        ("show", {"table": "main.books", "columns": ["books.title"]}, "", "SELECT books.title FROM main.books"),
        ("show", {"figure": "MAX", "columns": ["year"]}, "", "SELECT MAX(year) FROM books"),
        ("show", {"figure": "COUNT DISTINCT", "columns": ["author"]}, "", "SELECT COUNT(DISTINCT author) FROM books"),
        (
            "show", {"figure": "AVG", "columns": ["year"], "group_by": "author"}, "",
            "SELECT author, AVG(year) FROM books GROUP BY author",
        ),
        (
            "show", {"sort_by": "year", "descending": True, "limit": 1}, "",
            "SELECT * FROM books ORDER BY year DESC LIMIT 1",
        ),
        ("show", {"where_column": "year", "where_value": "1990"}, "", "SELECT * FROM books WHERE year = 1990"),
        (
            "show", {"where_column": "title", "where_value": "1984"}, "the book '1984'",
            "SELECT * FROM books WHERE title = '1984'",
        ),
        (
            "show", {"where_column": "copies", "where_test": "less than", "where_value": "five"}, "",
            "SELECT * FROM books WHERE copies < 5",
        ),
        (
            "show", {"where_column": "author", "where_value": "O'Hara"}, "",
            "SELECT * FROM books WHERE author = 'O''Hara'",
        ),
        (
            "show", {"where_column": "title", "where_test": "begins with", "where_value": "The"}, "",
            "SELECT * FROM books WHERE title LIKE 'The%'",
        ),
        (
            "show",
            {"where_column": "year", "where_test": "between", "where_value": "1990", "also_value": "1999"}, "",
            "SELECT * FROM books WHERE year BETWEEN 1990 AND 1999",
        ),
        (
            "show", {"where_column": "year", "where_value": "1990", "also": "or", "also_value": "1999"}, "",
            "SELECT * FROM books WHERE year IN (1990, 1999)",
        ),
        (
            "show",
            {"where_column": "author", "where_test": "empty", "also": "or", "also_column": "year",
             "also_test": "empty"},
            "", "SELECT * FROM books WHERE author IS NULL OR year IS NULL",
        ),
        (
            "show",
            {"where_column": "copies", "where_test": "at least", "where_value": "2", "also_test": "not equal",
             "also_column": "author", "also_value": "Eco"},
            "", "SELECT * FROM books WHERE copies >= 2 AND author != 'Eco'",
        ),
        (
            "insert", {"columns": ["title", "year"], "values": ["Emma", "1815"]}, "",
            "INSERT INTO books (title, year) VALUES ('Emma', 1815)",
        ),
        (
            "update", {"columns": ["copies"], "values": ["2"], "where_column": "title", "where_value": "Emma"}, "",
            "UPDATE books SET copies = 2 WHERE title = 'Emma'",
        ),
        (
            "update", {"columns": ["copies"], "values": ["1"], "change": "raised by", "every_row": True}, "",
            "UPDATE books SET copies = copies + 1",
        ),
        ("delete", {"where_column": "year", "where_value": "1815"}, "", "DELETE FROM books WHERE year = 1815"),
        ("delete", {"every_row": True}, "", "DELETE FROM books"),
        (
            "create", {"table": "new", "columns": ["id", "label", "price", "day"], "unless_there": True},
            "new: id (integer, primary key), label is a text that must not be empty, price as a decimal, default 0, "
            "and day",
            "CREATE TABLE IF NOT EXISTS new "
            "(id INTEGER PRIMARY KEY, label TEXT NOT NULL, price REAL DEFAULT 0, day TEXT)",
        ),
    ],
)  # fmt: skip
def test_parts_become_a_statement_that_runs(action: str, parts: dict[str, Any], text: str, query: str) -> None:
    assert write(action, BOOKS | parts, text) == query
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE books (title, year, author, copies)")
    database.execute(query)


@pytest.mark.parametrize(
    ("action", "parts"),
    [
        ("show", {"where_column": "year"}),
        ("show", {"where_value": "1990"}),
        ("show", {"figure": "SUM"}),
        ("show", {"where_column": "year", "where_test": "between", "where_value": "1990"}),
        ("insert", {"columns": ["title", "year"], "values": ["Emma"]}),
        ("update", {"columns": ["copies"], "values": ["2"]}),
        ("update", {"where_column": "title", "where_value": "Emma"}),
        ("delete", {}),
        ("delete", {"where_column": "year", "where_test": "more than"}),
        ("create", {}),
    ],
)
def test_a_statement_that_lacks_a_part_is_not_written(action: str, parts: dict[str, Any]) -> None:
    assert write(action, BOOKS | parts, "") is None


def test_no_statement_without_a_table() -> None:
    assert write("show", {"columns": ["title"]}, "") is None


@given(
    st.text(st.characters(exclude_characters="."), min_size=1, max_size=12),
    st.text(max_size=12),
    st.sampled_from(sorted(TESTS)),
)
def test_names_and_values_stay_names_and_values(name: str, value: str, test: str) -> None:
    parts = {"table": name, "where_column": name, "where_test": test, "where_value": value, "also_value": value}
    query = write("show", parts, "")
    assert query is not None
    database = sqlite3.connect(":memory:")
    if "\x00" in name + value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in name + value):
        return  # sqlite takes no such text at all
    quoted = '"' + name.replace('"', '""') + '"'
    database.execute(f"CREATE TABLE {quoted} ({quoted})")
    database.execute(query)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_words_of_sql_can_be_names(name: str) -> None:
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE TABLE "{name}" ("{name}")')
    database.execute(str(write("show", {"table": name, "columns": [name], "sort_by": name}, "")))
