"""The MCP client's own model as the writer of requests, asked while the gateway serves, for a training later.

Owns how much is asked at a time, and the file in which the requests wait: what is read there is checked once more, as
the tools may have changed since. Refuses to own: consent, and how a question travels to the client.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from mcp_dualtune.errors import ProtocolError, TrainingError
from mcp_dualtune.state import append_private
from mcp_dualtune.training.gathering.asking import BATCH, Asking, Question
from mcp_dualtune.training.gathering.gathered import Gathered, Sourced, whole_example
from mcp_dualtune.training.gathering.lines import lines_of, rows_of
from mcp_dualtune.types import ServerSpec

EACH = 12
"""Requests that are kept for a tool; a tool that has them is asked about no more."""
QUESTIONS = 8
"""Asked at once: clients of the stateless protocol give up after ten rounds, and the consent is one of them."""
SECONDS = 900.0
"""For all questions of one round, as a person may have to agree to each."""
TRIES = 2
"""Answers without anything to take, after which a tool is left alone for this round."""
FILE = "sampled.jsonl"
GONE = "a sampled request that does not fit the tools of today"

Ask = Callable[[Question], Awaitable[tuple[Any, bool]]]
"""Puts a question to the client's model; gives its text, and whether that was cut."""


@dataclass(frozen=True)
class Round:
    """What one round of questions came to."""

    written: Mapping[str, int]
    """By tool, how many requests were taken."""
    left_out: Mapping[str, int]
    lacking: tuple[str, ...]
    """Tools that another round would ask about."""
    stopped: str = ""
    """Why it ended early."""


def sampled(path: Path, servers: Sequence[ServerSpec]) -> Gathered:
    """What was written about `servers` before; no file means nothing.

    Raises:
        TrainingError: the file cannot be read.
    """
    names = {server.name for server in servers}
    found: list[Sourced] = []
    left = Counter[str]()
    for row in rows_of(lines_of(path, "sampled requests")):
        if isinstance(row, Mapping) and row.get("server") is not None and row.get("server") not in names:
            continue
        try:
            found.append(Sourced(whole_example(row, servers), "sampling"))
        except TrainingError:
            left[GONE] += 1
    return Gathered(tuple(found), dict(left))


async def sample(server: ServerSpec, path: Path, ask: Ask, seconds: float = SECONDS) -> Round:
    """Have requests to the tools of `server` written, those with the fewest first, and keep them in the file.

    What was taken is in the file at once, so that nothing is lost when the client goes away.

    Raises:
        TrainingError: the file cannot be read or written.
        ProtocolError: the client refuses the first question.
    """
    before = sampled(path, [server])
    asking = Asking("sampling", f"{server.name} {len(before.examples)} sampled", before.of(server.name))
    have = Counter(one.tool for one in before.of(server.name))
    written, wasted = Counter[str](), Counter[str]()
    asked, stopped = 0, ""
    with anyio.move_on_after(seconds) as limit:
        while asked < QUESTIONS and (
            tools := [one for one in server.tools if have[one.name] < EACH and wasted[one.name] < TRIES]
        ):
            tool = min(tools, key=lambda one: (wasted[one.name], have[one.name]))
            wanted = min(BATCH, EACH - have[tool.name])
            try:
                content, cut = await ask(asking.question(server, tool, wanted))
            except ProtocolError as error:
                if not asked:
                    raise
                stopped = error.message
                break
            asked += 1
            known = len(asking.found)
            taken = asking.take(content, server, tool, wanted, cut=cut)
            _keep(path, asking.found[known:])
            have[tool.name] += taken
            written[tool.name] += taken
            wasted[tool.name] += not taken
    if limit.cancelled_caught:
        stopped = f"the {seconds:g} seconds for one round are over"
    lacking = tuple(tool.name for tool in server.tools if have[tool.name] < EACH)
    return Round({name: count for name, count in written.items() if count}, dict(asking.left), lacking, stopped)


def _keep(path: Path, found: Sequence[Sourced]) -> None:
    """Add lines to the file; several gateways may do so at the same time."""
    rows = [
        {"request": one.request, "server": one.server, "tool": one.tool, "arguments": dict(one.arguments or {})}
        for one in (sourced.example for sourced in found)
    ]
    if not rows:
        return
    try:
        with append_private(path) as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        hint = "Name another folder in dualtune.state."
        raise TrainingError(f"Cannot keep the sampled requests in {path}: {error.strerror}.", hint=hint) from error
