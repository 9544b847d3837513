"""What a chat model has written for a training run, kept so that the same run can go on.

A model asked twice writes twice something else: an interrupted run would begin anew. Owns those files; what is taken of
them is checked like an answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from mcp_dualtune.config import WriterSettings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.state import read_private, write_private
from mcp_dualtune.training.gathering.gathered import Gathered, Sourced, whole_example
from mcp_dualtune.training.gathering.writer import written
from mcp_dualtune.types import ServerSpec, canonical


def kept_or_written(
    settings: WriterSettings,
    servers: Sequence[ServerSpec],
    seed: int,
    say: Callable[[str], None],
    folder: Path | None,
    *,
    again: bool = False,
) -> Gathered:
    """What this model wrote for exactly these tools and this seed before, else what it writes now.

    Raises:
        TrainingError: it cannot be asked, or the folder cannot be used.
    """
    if folder is None:
        return written(settings, servers, seed, say)
    tools = [[server.name, server.fingerprint, dict(server.fixed_arguments)] for server in servers]
    content = {"model": [settings.url, settings.model, settings.requests], "seed": seed, "servers": tools}
    path = folder / f"{hashlib.sha256(canonical(content).encode()).hexdigest()[:12]}.json"
    try:
        text = None if again else read_private(path)
        if text is not None and (before := _read(text, servers)) is not None:
            say(f"The {len(before.examples)} requests that {settings.model} wrote before are used again.")
            return before
        found = written(settings, servers, seed, say)
        examples = [
            {"request": one.request, "server": one.server, "tool": one.tool, "arguments": dict(one.arguments or {})}
            for one in (sourced.example for sourced in found.examples)
        ]
        row = {"examples": examples, "left_out": dict(found.left_out)}
        write_private(path, json.dumps(row, ensure_ascii=False, indent=1))
    except OSError as error:
        hint = "Name another folder with --runs."
        raise TrainingError(f"Cannot keep the written requests in {path}: {error.strerror}.", hint=hint) from error
    return found


def _read(text: str, servers: Sequence[ServerSpec]) -> Gathered | None:
    """The kept requests; None where the file is not as it was written."""
    try:
        row = json.loads(text)
        found = tuple(Sourced(whole_example(one, servers), "writer") for one in row["examples"])
        return Gathered(found, {str(reason): int(count) for reason, count in row["left_out"].items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, TrainingError):
        return None
