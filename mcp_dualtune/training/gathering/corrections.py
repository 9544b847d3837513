"""Corrections: what the user said would have been right for a past request, in a file of the user's own.

Owns that file: one example a line in the format of `own_examples`, always with its server. The examples that training
was given lie there too, marked as such: requests are compared with all of them (`pipeline.exemplars`). Other lines and
comments in it are left as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.state import write_private
from mcp_dualtune.training.gathering.gathered import Gathered, Source, Sourced
from mcp_dualtune.training.gathering.lines import lines_of, rows_of
from mcp_dualtune.training.synthesis.own_examples import KEPT_FIELD, parse_example
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
            source: Source = "own" if isinstance(row, Mapping) and row.get(KEPT_FIELD) == "own" else "correction"
            found.append(Sourced(parse_example(row, servers), source))
        except TrainingError:
            # A server may have changed since; its other corrections are as good as before.
            left[GONE] += 1
    return Gathered(tuple(found), dict(left))


def remember(path: Path, examples: Sequence[Sourced]) -> int:
    """Add examples; earlier ones of the same requests to the same servers go, and it is said how many.

    Raises:
        TrainingError: the file cannot be read or written.
    """
    new = {(one.example.server, one.example.request): json.dumps(_row(one), ensure_ascii=False) for one in examples}
    lines = lines_of(path, "corrections")
    kept = [line for line in lines if not _among(line, new)]
    try:
        write_private(path, "\n".join([*kept, *new.values()]) + "\n")
    except OSError as error:
        hint = "Name another file in the environment variable DUALTUNE_EXAMPLES."
        raise TrainingError(f"Cannot write the corrections {path}: {error.strerror}.", hint=hint) from error
    return len(lines) - len(kept)


def _row(one: Sourced) -> dict[str, JSON]:
    example = one.example
    row: dict[str, JSON] = {"request": example.request, "tool": example.tool, "server": example.server}
    if example.arguments is not None:
        row["arguments"] = dict(example.arguments)
    return row if one.source == "correction" else {**row, KEPT_FIELD: one.source}


def _among(line: str, examples: Collection[tuple[str, str]]) -> bool:
    """Whether a line is about one of these (server, request); one without a server is about all."""
    (row,) = list(rows_of([line])) or [None]
    if not isinstance(row, Mapping):
        return False
    server, said = row.get("server"), row.get("request")
    return any(request == said and server in (name, None) for name, request in examples)
