"""A whole training set for one server, made from its tool list alone: requests, gaps, chains, refusals - and counts.

Owns how many of each there are, and that training and held-out wordings stay apart. `synthesise` is the way in.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp_dualtune.training.records import Chain, Entry, RequestTemplate
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.training.synthesis.chains import chain, pairs
from mcp_dualtune.training.synthesis.filtering import Sieve
from mcp_dualtune.training.synthesis.gaps import Gap, gap
from mcp_dualtune.training.synthesis.outcomes import outcomes
from mcp_dualtune.training.synthesis.refusals import refused
from mcp_dualtune.training.synthesis.requests import request
from mcp_dualtune.training.synthesis.subject import Subject, subjects
from mcp_dualtune.training.synthesis.wordings import Wordings
from mcp_dualtune.types import ServerSpec

GAPS, CHAINS, REFUSALS = 0.1, 0.05, 0.08
"""Shares of `count`; the rest are plain requests."""
LEAST = 8
"""Requests that every tool gets at least."""
HELD_OUT = 5
"""One held-out request for so many in training."""
TRIES = 8
"""Attempts for every request that is wanted; a tool without parameters runs out of wordings."""
RESULTS = 6


@dataclass(frozen=True)
class Part:
    """Requests in one set of wordings."""

    entries: tuple[Entry, ...]
    chains: tuple[Chain, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of requests of all kinds."""
        asked = sum(len(entry.requests) + len(entry.missing) + len(entry.choices) for entry in self.entries)
        return asked + len(self.chains) + len(self.refused)


@dataclass(frozen=True)
class Synthesis:
    """What was made for one server."""

    server: ServerSpec
    training: Part
    held_out: Part
    counts: Mapping[str, int] = field(default_factory=dict)
    """`made` and `kept` requests, and how many were dropped for what."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Tools that nothing could be made for, and why."""

    def enter(self, corpus: Corpus, *, held_out: bool = False) -> None:
        """Add the server and one part of its requests to a corpus."""
        part, name = self.held_out if held_out else self.training, self.server.name
        corpus.servers[name] = self.server
        corpus.entries[name] = [entry for entry in part.entries if entry.requests or entry.choices]
        corpus.chains[name] = list(part.chains)
        corpus.refused[name] = list(part.refused) or ["hello"]
        corpus.refused.setdefault("", ["hello", "thanks, that's all"])
        corpus.descriptions.setdefault(name, [self.server.description])
        if name not in corpus.tuned:
            corpus.tuned = (*corpus.tuned, name)


def synthesise(server: ServerSpec, seed: int, count: int) -> Synthesis:
    """Make about `count` requests for training and a fifth as many held out; the same for the same server and seed.

    A server of many tools gets more: each tool has a handful of requests at least.
    """
    rng = random.Random(f"{seed} {server.name}")
    able, skipped = _askable(server, rng)
    sieve = Sieve(frozenset(server.fixed_arguments))
    training = _part(server, able, count, sieve, rng, Wordings())
    held_out = _part(server, able, max(count // HELD_OUT, 1), sieve, rng, Wordings(held_out=True))
    return Synthesis(server, training, held_out, dict(sieve.counts), skipped)


def for_measuring(server: ServerSpec, seed: int, count: int) -> Synthesis:
    """About `count` requests in held-out wordings and none for training, with values that no training set of this seed
    has; the same for the same server and seed.
    """
    rng = random.Random(f"{seed} {server.name} for measuring")
    able, skipped = _askable(server, rng)
    sieve = Sieve(frozenset(server.fixed_arguments))
    held_out = _part(server, able, max(count, 1), sieve, rng, Wordings(held_out=True))
    return Synthesis(server, Part(()), held_out, dict(sieve.counts), skipped)


def _askable(server: ServerSpec, rng: random.Random) -> tuple[list[Subject], dict[str, str]]:
    """The tools that requests can be made for, and why the others cannot be asked for."""
    asked = subjects(server, rng)
    skipped = {
        one.tool.name: "no values can be made up for " + ", ".join(one.unsayable) for one in asked if one.unsayable
    }
    return [one for one in asked if not one.unsayable], skipped


def _part(
    server: ServerSpec, able: list[Subject], count: int, sieve: Sieve, rng: random.Random, wordings: Wordings
) -> Part:
    if not able:
        return Part(())
    plain = round(count * (1 - GAPS - CHAINS - REFUSALS))
    each = max(plain // len(able), LEAST if not wordings.held_out else 2)
    gaps = max(round(count * GAPS) // len(able), 1)
    entries = tuple(_entry(server, one, each, gaps, sieve, rng, wordings) for one in able)
    return Part(
        entries,
        _chains(server, able, round(count * CHAINS), sieve, rng, wordings),
        _refusals(able, max(round(count * REFUSALS), 2), sieve, rng, wordings),
    )


def _entry(
    server: ServerSpec, one: Subject, requests: int, gaps: int, sieve: Sieve, rng: random.Random, wordings: Wordings
) -> Entry:
    made: list[RequestTemplate] = []
    for _ in range(requests * TRIES):
        if len(made) == requests:
            break
        wordings.start()
        template = request(one, rng, wordings)
        if template is not None and wordings.fair and sieve.keeps(template, one.tool, rng):
            made.append(template)
    left: list[Gap] = []
    for _ in range(gaps * TRIES if one.required else 0):
        if len(left) == gaps:
            break
        wordings.start()
        found = gap(one, rng, wordings)
        if found is not None and wordings.fair and sieve.keeps(found[0], one.tool, rng, found[1]):
            left.append(found)
    return Entry(server.name, one.tool.name, tuple(made), tuple(left), outcomes(one, rng, RESULTS))


def _chains(
    server: ServerSpec, able: list[Subject], count: int, sieve: Sieve, rng: random.Random, wordings: Wordings
) -> tuple[Chain, ...]:
    linked = pairs(able)
    made: list[Chain] = []
    for _ in range(count * TRIES):
        if len(made) == count:
            break
        wordings.start()
        found = chain(server.name, able, linked, rng, wordings)
        if found is not None and wordings.fair and sieve.keeps_text(found.text, "chain"):
            made.append(found)
    return tuple(made)


def _refusals(able: list[Subject], count: int, sieve: Sieve, rng: random.Random, wordings: Wordings) -> tuple[str, ...]:
    made: list[str] = []
    for _ in range(count * TRIES):
        if len(made) == count:
            break
        wordings.start()
        text = refused(able, rng, wordings)
        if text is not None and wordings.fair and sieve.keeps_text(text, "none"):
            made.append(text)
    return tuple(made)
