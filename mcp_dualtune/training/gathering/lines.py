"""Files of examples of ours, one JSON object a line: reading them, whatever somebody has made of them.

Owns what counts as a line. Refuses to own: which example is taken (`corrections`, `sampled`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.state import read_private
from mcp_dualtune.types import JSON


def lines_of(path: Path, what: str) -> list[str]:
    """The lines of a file, none where there is no file; `what` says in an error what stands in it.

    Raises:
        TrainingError: it cannot be read.
    """
    try:
        return (read_private(path) or "").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise TrainingError(f"Cannot read the {what} {path}: {reason}.", hint="Correct or remove it.") from error


def rows_of(lines: Sequence[str]) -> Iterator[JSON]:
    """What stands in each line that is neither empty nor a comment; None for what is not JSON."""
    for line in lines:
        if line.strip() and not line.lstrip().startswith("//"):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield None
