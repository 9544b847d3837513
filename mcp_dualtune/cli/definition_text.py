"""Pinned definitions as lines for people, and how two of them differ.

Owns layout only; what a server wrote is shown with everything in it that would not be seen.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from mcp_dualtune.security.untrusted import escape_hidden

CONTEXT_LINES = 2


def definition_lines(definition: Mapping[str, Any] | None) -> list[str]:
    """One definition: texts line by line, everything else as indented JSON in the order of its keys."""
    if definition is None:
        return ["(too long to be kept; only its hash is)"]
    lines: list[str] = []
    for key, value in definition.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
        lines.append(f"{key}:")
        lines += [f"  {escape_hidden(line)}" for line in text.split("\n")]
    return lines


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """Unified difference of two `{"digest", "definition"}`; of a new one, all its lines."""
    old = definition_lines(before["definition"]) if before else []
    new = definition_lines(after["definition"])
    if before and old == new:
        return [f"-sha256 {before['digest']}", f"+sha256 {after['digest']}"]
    lines = list(difflib.unified_diff(old, new, n=CONTEXT_LINES, lineterm=""))
    return lines[2:]
