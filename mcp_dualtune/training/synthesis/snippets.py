"""Made-up lines for machines: statements, programs, commands, formulas, selectors and small JSON texts.

Owns their shapes; other technical values are `technical`'s.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from mcp_dualtune.training.synthesis.technical import branch, folder_path, pick, url


def sql(rng: random.Random) -> str:
    """A statement."""
    table, first, second = pick(rng, "tables"), pick(rng, "columns"), pick(rng, "columns")
    return rng.choice(
        (
            f"SELECT * FROM {table} WHERE {first} > {rng.randint(2, 900)}",
            f"SELECT {first}, {second} FROM {table} LIMIT {rng.randint(2, 50)}",
            f"SELECT COUNT(*) FROM {table}",
            f"SELECT {first}, AVG({second}) FROM {table} GROUP BY {first}",
            f"DELETE FROM {table} WHERE id = {rng.randint(2, 900)}",
            f"UPDATE {table} SET {first} = '{pick(rng, 'words')}' WHERE id = {rng.randint(2, 99)}",
            f"SELECT DISTINCT {first} FROM {table} ORDER BY {second} DESC",
            f"INSERT INTO {table} ({first}) VALUES ('{pick(rng, 'words')}')",
        )
    )


def code(rng: random.Random) -> str:
    """A line of a program."""
    name, number = pick(rng, "words"), rng.randint(2, 99)
    return rng.choice(
        (
            f"print(sum(range({number})))",
            f"const {name} = {number};",
            f"document.title = '{name}'",
            f"{name} = [x * {number} for x in range(10)]",
            f"console.log({name}.length)",
            f"def {name}(): return {number}",
            f"return items.filter(i => i.{name} > {number})",
            f"import math; print(math.sqrt({number}))",
            f"window.scrollTo(0, {number * 10})",
            f"len('{name}') + {number}",
        )
    )


def command(rng: random.Random) -> str:
    """A shell command."""
    return rng.choice(
        (
            f"ls -la {folder_path(rng)}",
            f"git checkout {branch(rng)}",
            f"npm run {pick(rng, 'stems')}",
            f"python {pick(rng, 'stems')}.py",
            f"grep -r {pick(rng, 'words')} {pick(rng, 'folders')}",
            "df -h",
            f"tail -n {rng.randint(5, 200)} {pick(rng, 'stems')}.log",
            f"docker ps | grep {pick(rng, 'words')}",
            f"curl {url(rng)}",
            f"make {pick(rng, 'stems')}",
        )
    )


def formula(rng: random.Random) -> str:
    """Something to calculate."""
    a, b, c = rng.randint(2, 99), rng.randint(2, 99), rng.randint(2, 20)
    return rng.choice(
        (
            f"{a} * {b}",
            f"({a} + {b}) / {c}",
            f"sqrt({a * a})",
            f"{a}^{c}",
            f"{a}x + {b} = {c * a + b}",
            f"{a} - {b} * {c}",
            f"sin({a}) + {b}",
        )
    )


def document(rng: random.Random) -> str:
    """A small JSON object as text."""
    pairs: dict[str, Any] = {
        pick(rng, "columns"): rng.choice((rng.randint(1, 500), pick(rng, "words"), True))
        for _ in range(rng.randint(1, 3))
    }
    return json.dumps(pairs)


def selector(rng: random.Random) -> str:
    """A CSS selector."""
    word, other = pick(rng, "words"), pick(rng, "stems")
    return rng.choice(
        (
            f"#{word}",
            f".{other}-{word}",
            f"button.{word}",
            f"form#{other} input",
            f"div.{other} > a",
            f"#{other}-{word}",
        )
    )


def glob(rng: random.Random) -> str:
    """A pattern of file names."""
    ending = pick(rng, "endings")
    return rng.choice(
        (
            f"*.{ending}",
            f"**/*.{ending}",
            f"{pick(rng, 'stems')}*.{ending}",
            f"{pick(rng, 'folders')}/**",
            f"*{pick(rng, 'words')}*",
        )
    )


SNIPPETS: dict[str, Callable[[random.Random], str]] = {
    "sql": sql, "code": code, "command": command, "formula": formula, "json": document, "selector": selector,
    "glob": glob,
}  # fmt: skip
"""Family -> maker of one value."""
