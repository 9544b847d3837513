"""What a source of requests gives: examples that were checked, marked with where they came from, and what it left out.

Owns the record that all sources share, and which of two sources is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.synthesis.filtering import LONGEST, unreadable
from mcp_dualtune.training.synthesis.own_examples import OwnExample, parse_example
from mcp_dualtune.types import NONE, ServerSpec

Source = Literal["correction", "own", "trace", "writer", "sampling"]
"""`correction`: the user put a past decision right; `own`: a file of the user's; `trace`: a call that worked;
`writer`: a chat model wrote it; `sampling`: the model of an MCP client wrote it."""
SAID_BY_PEOPLE = frozenset({"correction", "own", "trace"})
REMEMBERED = frozenset({"correction", "own"})
"""What the user vouches for: requests are compared with these."""
OTHERWISE = "another source says otherwise, or the same"
UNSAID = "a value that the request does not say"


@dataclass(frozen=True)
class Sourced:
    """One example and where it came from."""

    example: OwnExample
    source: Source


@dataclass(frozen=True)
class Gathered:
    """The examples of one source or of several."""

    examples: tuple[Sourced, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """By reason, how many were not taken."""

    def of(self, server: str) -> list[OwnExample]:
        """The examples of one server, as `with_examples` takes them."""
        return [one.example for one in self.examples if one.example.server == server]

    def said(self, server: str) -> list[OwnExample]:
        """Those that people said: what is asked for how often shows in these alone."""
        return [one.example for one in self.examples if one.example.server == server and one.source in SAID_BY_PEOPLE]

    def only(self, source: Source) -> Gathered:
        """The examples of one source, and nothing of what was left out."""
        return Gathered(tuple(one for one in self.examples if one.source == source))

    def counts(self, server: str | None = None, tool: str | None = None) -> dict[str, int]:
        """By source, how many examples there are, of one server or tool or of all: what a manifest says."""
        wanted = (
            one.source
            for one in self.examples
            if (server is None or one.example.server == server) and (tool is None or one.example.tool == tool)
        )
        return dict(sorted(Counter(wanted).items()))


def merged(*parts: Gathered) -> Gathered:
    """Several sources as one; of what is said of the same request, the earlier source is believed."""
    kept: dict[tuple[str, str], Sourced] = {}
    left = Counter[str]()
    for part in parts:
        left.update(part.left_out)
        before = frozenset(kept)
        for one in part.examples:
            key = one.example.server, " ".join(one.example.request.casefold().split())
            if key in before:
                left[OTHERWISE] += kept[key] != one  # what training was given before stands in the file of corrections
            else:
                # Within one source the later line is the newer one.
                kept[key] = one
    return Gathered(tuple(kept.values()), dict(+left))


def whole_example(row: Mapping[str, object], servers: Sequence[ServerSpec]) -> OwnExample:
    """An example that a program made: its arguments are a whole call, and every value stands in the request.

    Raises:
        TrainingError: it is not; the message is a reason that can be counted.
    """
    example = parse_example(row, servers)
    if example.tool == NONE:
        return example
    server = next(one for one in servers if one.name == example.server)
    tool = next(one for one in server.tools if one.name == example.tool)
    arguments = {k: v for k, v in (example.arguments or {}).items() if k not in server.fixed_arguments}
    needed = [name for name in tool.input_schema.get("required") or () if name not in server.fixed_arguments]
    unknown = arguments.keys() - (tool.input_schema.get("properties") or {}).keys()
    if example.arguments is None or unknown or validate_arguments({**tool.input_schema, "required": needed}, arguments):
        raise TrainingError("arguments that are not a whole call")
    if len(example.request) > LONGEST:
        raise TrainingError("a request that is too long")
    if any(True for _ in unreadable(example.request, tool, arguments)):
        raise TrainingError(UNSAID)
    return OwnExample(example.request, example.server, example.tool, arguments)
