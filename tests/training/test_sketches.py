"""Statements taken apart and put together again: what a request with its SQL teaches."""

from __future__ import annotations

import random

import pytest

from mcp_dualtune.pipeline.sql import write
from mcp_dualtune.pipeline.statements import SKETCHES
from mcp_dualtune.training.sketches import as_said, taken_apart
from mcp_dualtune.training.sources import written
from mcp_dualtune.training.sql import STATEMENTS

ROWS = [(row["text"], row["query"]) for row in written("statements")]


def made_up(count: int) -> list[tuple[str, str]]:
    rng = random.Random(3)
    return [STATEMENTS[rng.choice(sorted(STATEMENTS))](rng) for _ in range(count)]


def test_what_was_taken_apart_is_put_together_as_it_was() -> None:
    kept = [(text, query, found) for text, query in (*ROWS, *made_up(1000)) if (found := taken_apart(query))]
    assert len(kept) > 1950
    for text, query, (action, parts) in kept:
        assert parts.keys() <= SKETCHES[action].input_schema["properties"].keys()
        again = write(action, as_said(parts, text), text)
        assert again == query or (" OR " in query and again and " IN (" in again), (text, query, again)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a.x FROM a JOIN b ON a.id = b.id",
        "SELECT x, COUNT(*) FROM a GROUP BY x HAVING COUNT(*) > 3",
        "SELECT x FROM a WHERE y = (SELECT MAX(y) FROM a)",
        "UPDATE a SET x = y",
        "DROP TABLE a",
        "please count them",
    ],
)
def test_what_no_sketch_can_say_is_left_alone(query: str) -> None:
    assert taken_apart(query) is None


def test_written_requests_differ_and_have_names_and_values_of_their_statements() -> None:
    assert len({text.lower() for text, _ in ROWS}) == len(ROWS) > 1000
    for text, query in ROWS:
        found = taken_apart(query)
        if found is not None:
            assert str(found[1]["table"]).lower() in text.lower(), text
