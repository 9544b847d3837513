"""Corrections: what the user said would have been right for a past request, in a file of the user's own.

Owns that file: one example a line in the format of `own_examples`, always with its server. Other lines and comments in
it are left as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.state import write_private
from mcp_dualtune.training.gathering.gathered import Gathered, Sourced
from mcp_dualtune.training.gathering.lines import lines_of, rows_of
from mcp_dualtune.training.synthesis.own_examples import OwnExample, parse_example
from mcp_dualtune.types import JSON, ServerSpec

GONE = "a correction that does not fit the tools of today"


def corrections(path: Path, servers: Sequence[ServerSpec]) -> Gathered:
    """The corrections for `servers`; those of other servers are not looked at. No file means none.

    Raises:
        TrainingError: the file cannot be read.
    """
    names = {server.name for server in servers}
    found: list[Sourced] = []
    left = Counter[str]()
    for row in rows_of(lines_of(path, "corrections")):
        if isinstance(row, Mapping) and row.get("server") is not None and row.get("server") not in names:
            continue
        try:
            found.append(Sourced(parse_example(row, servers), "correction"))
        except TrainingError:
            # A server may have changed since; its other corrections are as good as before.
            left[GONE] += 1
    return Gathered(tuple(found), dict(left))


def correct(path: Path, example: OwnExample) -> bool:
    """Add a correction; an earlier one of the same request to the same server goes, and True says so.

    Raises:
        TrainingError: the file cannot be read or written.
    """
    row: dict[str, JSON] = {"request": example.request, "tool": example.tool, "server": example.server}
    if example.arguments is not None:
        row["arguments"] = dict(example.arguments)
    lines = lines_of(path, "corrections")
    kept = [line for line in lines if not _about(line, example)]
    try:
        write_private(path, "\n".join([*kept, json.dumps(row, ensure_ascii=False)]) + "\n")
    except OSError as error:
        hint = "Name another file in the environment variable DUALTUNE_EXAMPLES."
        raise TrainingError(f"Cannot write the corrections {path}: {error.strerror}.", hint=hint) from error
    return len(kept) < len(lines)


def _about(line: str, example: OwnExample) -> bool:
    (row,) = list(rows_of([line])) or [None]
    same = isinstance(row, Mapping) and row.get("request") == example.request
    return same and isinstance(row, Mapping) and row.get("server") in (example.server, None)
