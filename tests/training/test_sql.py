"""Made-up SQL: it is SQL, it says what the request says, and no two draws need be alike."""

from __future__ import annotations

import random
import re
import sqlite3

import pytest

from mcp_dualtune.training.sql import STATEMENTS, creating, reading, writing

WORD = re.compile(r"[A-Za-z_]+")
KEYWORDS = {
    "SELECT", "FROM", "WHERE", "AND", "OR", "ORDER", "BY", "DESC", "LIMIT", "COUNT", "AVG", "SUM", "MAX", "MIN",
    "DISTINCT", "GROUP", "LIKE", "IS", "NOT", "NULL", "BETWEEN", "INSERT", "INTO", "VALUES", "UPDATE", "SET", "DELETE",
    "CREATE", "TABLE", "INTEGER", "TEXT", "REAL", "UNIQUE", "DATE", "BLOB", "PRIMARY", "KEY",
}  # fmt: skip


@pytest.mark.parametrize("make", STATEMENTS.values())
def test_every_name_in_the_statement_stands_in_the_request(make: object) -> None:
    rng = random.Random(3)
    for _ in range(400):
        text, query = make(rng)  # type: ignore[operator]
        plain = re.sub(r"'(?:[^']|'')*'", "", query)
        missing = [w for w in WORD.findall(plain) if w not in KEYWORDS and w not in text and w != "id"]
        assert not missing, (text, query)


def test_statements_can_be_parsed() -> None:
    rng = random.Random(5)
    for make in (reading, writing, creating):
        for _ in range(300):
            _, query = make(rng)
            database = sqlite3.connect(":memory:")
            try:
                database.execute(f"EXPLAIN {query}")
            except sqlite3.OperationalError as error:
                assert "no such table" in str(error), query


def test_draws_differ_and_are_seeded() -> None:
    drawn = [reading(random.Random(seed)) for seed in range(200)]
    assert len(set(drawn)) > 190
    assert drawn == [reading(random.Random(seed)) for seed in range(200)]
