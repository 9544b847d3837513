"""All sources that the config allows, as one set of examples.

Owns which sources are asked and whom of two is believed: what the user said first, then what worked, then what a model
wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mcp_dualtune.config import Config
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering.corrections import corrections
from mcp_dualtune.training.gathering.gathered import Gathered, Sourced, merged
from mcp_dualtune.training.gathering.kept import kept_or_written
from mcp_dualtune.training.gathering.sampled import FILE, sampled
from mcp_dualtune.training.gathering.traces import traced
from mcp_dualtune.training.synthesis.own_examples import read_examples
from mcp_dualtune.types import ServerSpec


def gather(
    config: Config,
    servers: Sequence[ServerSpec],
    own: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    kept: Path | None = None,
    *,
    again: bool = False,
) -> Gathered:
    """The user's corrections and, where given or allowed, the user's own file, the trace log and what models wrote.

    `say` gets a line about whatever takes its time or leaves this machine. What a chat model has written is kept in the
    folder `kept`, and it is not asked for the same once more, except `again`.

    Raises:
        TrainingError: a source that was asked for cannot be used.
    """
    training, trace = config.settings.training, config.settings.trace.file
    known = corrections(training.examples, servers) if training.examples else Gathered()
    parts = [replace(known.only("correction"), left_out=known.left_out)]
    if own is not None:
        parts.append(Gathered(tuple(Sourced(example, "own") for example in read_examples(own, servers))))
    parts.append(known.only("own"))  # given to an earlier training: the user may have changed the file since
    if training.trace:
        if trace is None:
            hint = "Name the file in dualtune.trace.file, or set dualtune.training.trace to false."
            raise TrainingError("There is no trace to learn from: none is written.", hint=hint)
        parts.append(traced(trace, servers, config))
    if training.writer is not None:
        parts.append(kept_or_written(training.writer, servers, seed, say, kept, again=again))
    if training.sampling and config.settings.state is not None:
        parts.append(sampled(config.settings.state / FILE, servers))
    return merged(*parts)
