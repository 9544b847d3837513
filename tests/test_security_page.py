"""SECURITY.md names the test that holds each promise: each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_promised_test_exists(name: str) -> None:
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not function or function in found


def test_every_promise_names_a_test() -> None:
    promises, _, _ = PAGE.partition("## Not promised")
    rows = [row for row in promises.partition("## Promises")[2].splitlines() if row.startswith("| ") and row[2] != "|"]
    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row and row != "| | test |"] == []
