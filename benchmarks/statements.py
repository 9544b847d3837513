"""How often plain requests become the right SQL: execution accuracy on requests that nothing is trained on.

    python -m benchmarks.statements

The requests are `benchmarks/statements.jsonl`, written by somebody who knew no training data; each names its table and
columns. A statement counts as right where it has the same effect as the expected one on a made-up table of 60 rows: the
same rows shown (in the same order, if one is asked for), or the same rows left behind. `same` counts those that are
equal letter by letter. Every tool that takes SQL is served alike, so these take all changes, or rows to show alone.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from threading import Event

from mcp_dualtune.config import Settings
from mcp_dualtune.evaluation.score import Rate
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.pipeline.statements import read_statement
from mcp_dualtune.training.statements import CHANGES_ROWS
from mcp_dualtune.types import Request

CASES = Path(__file__).with_name("statements.jsonl")
ACTIONS = {"SELECT": ("show",), "CREATE": ("create",)}
ROWS = 60
TABLE = re.compile(r"(?:FROM|INTO|UPDATE|TABLE) (?:IF NOT EXISTS )?(\w+)")
NAME, STRING = re.compile(r"[^\W\d]\w*"), re.compile(r"'(?:[^']|'')*'")
KEYWORDS = {
    "SELECT", "DISTINCT", "COUNT", "SUM", "AVG", "MIN", "MAX", "FROM", "WHERE", "AND", "OR", "LIKE", "IS", "NOT",
    "NULL", "BETWEEN", "IN", "GROUP", "ORDER", "BY", "ASC", "DESC", "LIMIT", "INSERT", "INTO", "VALUES", "UPDATE",
    "SET", "DELETE",
}  # fmt: skip
LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(\d+(?:\.\d+)?)")


def same_effect(expected: str, query: str, seed: str) -> bool:
    """Whether both do the same to a table that the expected statement could be about."""
    rng, found = random.Random(seed), TABLE.search(expected)
    assert found is not None
    words = NAME.findall(STRING.sub("", expected))
    columns = sorted({word for word in words if word not in KEYWORDS and word != found[1]}) or ["id"]
    values = [text.replace("''", "'") or number for text, number in LITERAL.findall(f"{expected} {query}")]
    rows = [[_cell(rng, values) for _ in columns] for _ in range(ROWS)]
    effects = []
    for statement in (expected, query):
        database = sqlite3.connect(":memory:")
        if not expected.startswith("CREATE"):
            database.execute(f"CREATE TABLE {found[1]} ({', '.join(columns)})")
            database.executemany(f"INSERT INTO {found[1]} VALUES ({', '.join('?' * len(columns))})", rows)
        try:
            shown = database.execute(statement).fetchall()
        except sqlite3.Error:
            return False
        if expected.startswith("CREATE"):
            shown = database.execute(f"PRAGMA table_info({found[1]})").fetchall()
        elif not expected.startswith("SELECT"):
            shown = database.execute(f"SELECT * FROM {found[1]}").fetchall()
        effects.append(shown if "ORDER BY" in expected else sorted(shown, key=repr))
    return effects[0] == effects[1]


def _cell(rng: random.Random, values: list[str]) -> str | float | None:
    roll = rng.random()
    if roll < 0.1:
        return None
    if roll < 0.7 and values:
        value = rng.choice(values).strip("%")
        if re.fullmatch(r"\d+(?:\.\d+)?", value):
            return float(value) + rng.choice((-1, 0, 0, 0, 1, 10))
        return rng.choice((value, value, f"{value} x", f"x {value}", f"x {value} x"))
    return rng.choice((rng.randint(0, 3000), f"w{rng.randint(0, 99)}"))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", action="store_true", help="print what went wrong")
    args = parser.parse_args()
    reader = load_pipeline(Settings()).reader
    assert reader is not None
    right, equal, total = (defaultdict[str, int](int) for _ in range(3))
    for number, line in enumerate(CASES.read_text(encoding="utf-8").splitlines()):
        case = json.loads(line)
        actions = ACTIONS.get(case["query"].split()[0], CHANGES_ROWS)
        made = read_statement(reader, Request(case["text"]), actions, Event()).query
        good = made is not None and same_effect(case["query"], made, str(number))
        for kind in (case["kind"], "all"):
            total[kind] += 1
            right[kind] += good
            equal[kind] += made == case["query"]
        if args.wrong and not good:
            print(f"{case['text']}\n  expected {case['query']}\n  got      {made}")
    print("| kind | right % | same % | requests |\n| --- | --- | --- | --- |")
    for kind, count in total.items():
        print(f"| {kind} | {Rate(right[kind], count).percent} | {100 * equal[kind] / count:.1f} | {count} |")


if __name__ == "__main__":
    main()
