"""Requests to measure with: made for the tools of whole catalogs in held-out wordings, and the user's own.

Owns which cases there are and in which order. Nothing is trained on them, and nothing is judged here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mcp_dualtune.training.augment import noisy
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.records import Case, Entry, RequestTemplate, fill
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.training.synthesis.filtering import Sieve
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.training.synthesis.refusals import refused
from mcp_dualtune.training.synthesis.subject import Subject, subjects
from mcp_dualtune.training.synthesis.synthesis import REFUSALS, TRIES, Synthesis, for_measuring
from mcp_dualtune.training.synthesis.wordings import Wordings
from mcp_dualtune.types import JSON, NONE, ServerSpec

Kind = Literal["request", "missing", "chain", "refusal", "own"]
UNMADE = "no request in held-out wordings could be made for it"


@dataclass(frozen=True)
class Asked:
    """One request with its right answer; `case.arguments` are what the finished call has, fixed ones included."""

    kind: Kind
    case: Case


@dataclass(frozen=True)
class Measure:
    """What to ask, and what cannot be asked for."""

    asked: tuple[Asked, ...]
    """In an order of which every beginning is a fair sample: each tool once, then each tool again, and so on."""
    unasked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By server, the tools without a request and why."""

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many requests of each kind."""
        return dict(Counter(one.kind for one in self.asked))


def measure(servers: Sequence[ServerSpec], seed: int, count: int, own: Sequence[OwnExample] = ()) -> Measure:
    """About `count` made-up requests for the tools of `servers`, and all of the user's own; the same for the same seed.

    Every tool gets a few, so that many tools make it more. Requests that no tool serves are checked against all
    servers, as what one of them lacks another may have.
    """
    rng = random.Random(f"{seed} what is asked")
    asked: list[Asked] = []
    unasked: dict[str, dict[str, str]] = {}
    for server in servers:
        made = for_measuring(server, seed, round(count / len(servers)))
        found = list(_asked(made, rng))
        covered = {one.case.tool for one in found}
        unasked[server.name] = {**dict.fromkeys(_names(server) - covered, UNMADE), **made.skipped}
        asked += found
    asked += _refusals(servers, round(count * REFUSALS), rng)
    asked += [Asked("own", _own(example, servers)) for example in own]
    return Measure(_spread(asked, rng), {name: dict(sorted(tools.items())) for name, tools in unasked.items() if tools})


def _asked(made: Synthesis, rng: random.Random) -> Iterator[Asked]:
    server, part = made.server, made.held_out
    for entry in part.entries:
        for template in entry.requests:
            yield Asked("request", _case(server, entry, template, (), rng))
        for template, missing in entry.missing:
            yield Asked("missing", _case(server, entry, template, missing, rng))
    if part.chains:
        corpus = Corpus()
        made.enter(corpus, held_out=True)
        for chain in part.chains:
            case = CaseMaker(corpus).chain_step(chain, rng)
            arguments = None if case.arguments is None else _whole(server, case.tool, case.arguments)
            yield Asked("chain", Case(case.query, server, case.tool, arguments, (), case.history))


def _case(
    server: ServerSpec, entry: Entry, template: RequestTemplate, missing: tuple[str, ...], rng: random.Random
) -> Case:
    text, arguments = fill(template, rng)
    protected = [value for value in _texts(arguments) if value]
    if not missing or not protected:
        text = noisy(text, protected, rng)
    return Case(text, server, entry.tool, _whole(server, entry.tool, arguments), missing)


def _refusals(servers: Sequence[ServerSpec], count: int, rng: random.Random) -> Iterator[Asked]:
    able: list[Subject] = [one for server in servers for one in subjects(server, rng) if not one.unsayable]
    wordings, sieve, kept = Wordings(held_out=True), Sieve(), 0
    for _ in range(count * TRIES if able else 0):
        wordings.start()
        text = refused(able, rng, wordings)
        if text is not None and wordings.fair and sieve.keeps_text(text, NONE):
            kept += 1
            yield Asked("refusal", Case(noisy(text, [], rng), servers[0], NONE))
        if kept == count:
            return


def _own(example: OwnExample, servers: Sequence[ServerSpec]) -> Case:
    server = next(one for one in servers if one.name == example.server)
    if example.tool == NONE or example.arguments is None:
        return Case(example.request, server, example.tool)
    arguments = _whole(server, example.tool, example.arguments)
    needed = _tool_schema(server, example.tool).get("required") or ()
    return Case(
        example.request, server, example.tool, arguments, tuple(name for name in needed if name not in arguments)
    )


def _whole(server: ServerSpec, tool: str, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """The arguments with what the user's config gives to every call of the tool."""
    known = _tool_schema(server, tool).get("properties") or {}
    return {**arguments, **{name: value for name, value in server.fixed_arguments.items() if name in known}}


def _spread(asked: Sequence[Asked], rng: random.Random) -> tuple[Asked, ...]:
    seen: Counter[tuple[str, str]] = Counter()
    placed = []
    for one in rng.sample(asked, len(asked)):
        key = one.case.server.name, one.case.tool
        placed.append((seen[key], one))
        seen[key] += 1
    return tuple(one for _, one in sorted(placed, key=lambda pair: pair[0]))


def _tool_schema(server: ServerSpec, tool: str) -> Mapping[str, JSON]:
    return next(one.input_schema for one in server.tools if one.name == tool)


def _names(server: ServerSpec) -> set[str]:
    return {tool.name for tool in server.tools}


def _texts(value: JSON) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [str(value)] if isinstance(value, str | int | float) and not isinstance(value, bool) else []
