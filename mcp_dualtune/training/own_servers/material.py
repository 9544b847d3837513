"""What one server's adapters are trained and measured on: requests, split by wording into three parts.

Owns the split and the negatives. The requests themselves come from `synthesis`, from the user, and from true results.
The first part is learnt from. The second, the gate, fits temperatures and says which adapters are kept. The third is
looked at once, for the report: a choice made on the numbers that are shown would flatter them. Requests that were
gathered stand in all three parts as far as they are enough, and first in the gate, so that none is left out there;
once all is chosen and measured, `complete` gives them all to learn from.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mcp_dualtune.pipeline.exemplars import Row
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.gathering import Gathered
from mcp_dualtune.training.gathering.gathered import REMEMBERED
from mcp_dualtune.training.records import Case, Entry, fill
from mcp_dualtune.training.sources import Corpus, tuned_corpus
from mcp_dualtune.training.synthesis import Part, Synthesis, synthesise
from mcp_dualtune.training.synthesis.own_examples import Split, example_case, split_examples, with_examples
from mcp_dualtune.types import FINISH, NONE, HistoryItem, ServerSpec, ToolCall, ToolSpec, canonical

EACH = 120
"""Requests made for each tool, held-out ones included; a fifth of that is held out."""
LEAST = 1000
"""Requests made for a server at least."""
FILLINGS = 2
"""Values that every held-out wording is measured with."""
ALIKE = 0.25
"""A server of ours that shares this much of its tools' names with the user's is no stranger: its requests fit."""

Results = Mapping[str, Sequence[str]]
"""True results by tool."""
MADE_UP, EXECUTED = "synthesis", "executed"
"""Sources beside those that were gathered: requests made up from the schemas, and true results."""


@dataclass(frozen=True)
class Material:
    """Everything that the adapters of one server are made from."""

    server: ServerSpec
    """As the model sees it."""
    training: Part
    gate: tuple[Case, ...]
    report: tuple[Case, ...]
    gathered: frozenset[str] = frozenset()
    """The requests of the gate that were not made up."""
    sources: Mapping[str, int] = field(default_factory=dict)
    """By source, how many requests or results it gave."""
    by_tool: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The same for each tool, negatives left out."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Tools that nothing could be made for, and why."""
    exemplars: tuple[Row, ...] = ()
    """The examples of the training part that the user vouches for: what is measured may be compared with these only."""
    everything: Part | None = None
    """The training part with the gathered requests of the gate and the report too; None where there are none."""

    def complete(self) -> Material:
        """The same with all gathered requests to learn from: nothing can be measured on it any more."""
        return replace(self, training=self.everything or self.training, everything=None)

    def holds_out(self, tool: str | None) -> bool:
        """Whether `complete` teaches more about a tool's arguments, or without `tool` about choosing."""
        if tool is None or self.everything is None:
            return self.everything is not None
        whole, learnt = (
            [(entry.requests, entry.missing) for entry in part.entries if entry.tool == tool]
            for part in (self.everything, self.training)
        )
        return whole != learnt

    def sources_of(self, tool: str | None) -> dict[str, int]:
        """What the manifest of one tool's adapter says, or without `tool` that of the choosing one."""
        return dict(self.sources if tool is None else self.by_tool.get(tool, {}))

    @property
    def digest(self) -> str:
        """sha256 hex of all that is learnt from and measured with."""
        parts = [repr(part) for part in (self.training, self.gate, self.report)]
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    def corpus(self) -> Corpus:
        """The training part, among strangers whose requests the server does not serve."""
        corpus = tuned_corpus()
        for name in [name for name in corpus.servers if _akin(self.server, corpus.servers[name])]:
            for by_name in (corpus.servers, corpus.entries, corpus.chains, corpus.refused, corpus.descriptions):
                by_name.pop(name, None)
        corpus.catalogue += corpus.servers.values()
        corpus.tuned = ()
        Synthesis(self.server, self.training, Part(())).enter(corpus)
        return corpus

    def cases(self, part: Sequence[Case], tool: str | None = None) -> list[Case]:
        """Those of `gate` or `report` in which `tool` is called or asked for; without one, all."""
        return [case for case in part if tool is None or (case.tool == tool and case.arguments is not None)]


def make_material(
    server: ServerSpec, seed: int, gathered: Gathered | None = None, results: Results | None = None
) -> Material:
    """Synthesise, add what was gathered and the true results of read-only tools, and split; the same for the same
    server, seed, examples and results."""
    gathered, results = gathered or Gathered(), results or {}
    made = synthesise(server, seed, max(LEAST, EACH * len(server.tools)))
    split = split_examples(gathered.of(server.name))
    own = with_examples(made, split.learnt)
    training, held_out = (_with_results(part, results) for part in (own.training, own.held_out))
    everything = None
    if split.judged or split.reported:
        learnable = (*split.learnt, *split.judged, *split.reported)
        everything = _with_results(with_examples(made, learnable).training, results)
    gate, report = _measured(server, held_out, split, random.Random(f"{seed} {server.name} measured"))
    judged = frozenset(example.request for example in split.judged)
    parts = (made.training, made.held_out)
    in_all = {MADE_UP: sum(part.size for part in parts), EXECUTED: sum(map(len, results.values()))}
    by_tool = {}
    for tool in server.tools:
        entries = [entry for part in parts for entry in part.entries if entry.tool == tool.name]
        made_up = sum(len(entry.requests) + len(entry.missing) for entry in entries)
        counted = {MADE_UP: made_up, EXECUTED: len(results.get(tool.name, ()))}
        by_tool[tool.name] = _some(counted) | gathered.counts(server.name, tool.name)
    sources = _some(in_all) | gathered.counts(server.name)
    vouched = {one.example.request for one in gathered.examples if one.source in REMEMBERED}
    exemplars = tuple((e.server, e.tool, e.request) for e in split.learnt if e.request in vouched)
    return Material(
        server, training, tuple(gate), tuple(report), judged, sources, by_tool, made.skipped, exemplars, everything
    )


def _some(counts: Mapping[str, int]) -> dict[str, int]:
    return {source: count for source, count in counts.items() if count}


def _with_results(part: Part, results: Results) -> Part:
    """What a tool truly answered stands in the place of what was made up for it."""
    entries = tuple(
        replace(entry, results=tuple(results[entry.tool])) if results.get(entry.tool) else entry
        for entry in part.entries
    )
    return replace(part, entries=entries)


def _measured(server: ServerSpec, part: Part, split: Split, rng: random.Random) -> tuple[list[Case], list[Case]]:
    """Every held-out wording, filled, each kind dealt out to the two parts in turn; and the examples of each."""
    corpus = Corpus()
    Synthesis(server, Part(()), part).enter(corpus, held_out=True)
    maker = CaseMaker(corpus)
    parts: tuple[list[Case], list[Case]] = ([], [])
    for entry in part.entries:
        for kind in (_calls(server, entry, maker, rng), _gaps(server, entry, maker, rng)):
            for number, cases in enumerate(kind):
                parts[number % 2].extend(cases)
    for number, chain in enumerate(part.chains):
        parts[number % 2].extend(maker.chain_step(chain, rng) for _ in range(FILLINGS))
    for number, text in enumerate(part.refused):
        parts[number % 2].append(Case(text, server, NONE, context=maker.context(rng)))
    for entry in part.entries:
        for cases in parts:
            # What has been done is finished: one case for each tool, in words of this part.
            called = [one for one in cases if one.tool == entry.tool and not one.missing and not one.history]
            if called and (case := rng.choice(called)).arguments is not None:
                call = ToolCall(server.name, case.tool, dict(case.arguments))
                done = HistoryItem(call, maker.result(server.name, case, rng))
                cases.append(replace(case, tool=FINISH, arguments=None, history=(done,)))
    gate, report = parts
    rng.shuffle(gate)
    gate[:0] = [example_case(example, server, maker.context(rng)) for example in split.judged]
    report += [example_case(example, server, maker.context(rng)) for example in split.reported]
    rng.shuffle(report)  # any beginning of it is a sample of it
    return gate, report


def _calls(server: ServerSpec, entry: Entry, maker: CaseMaker, rng: random.Random) -> list[list[Case]]:
    wordings = list(entry.requests)
    rng.shuffle(wordings)
    made = []
    for template in wordings:
        filled = [fill(template, rng) for _ in range(FILLINGS if template.places else 1)]
        made.append([Case(text, server, entry.tool, given, context=maker.context(rng)) for text, given in filled])
    return made


def _gaps(server: ServerSpec, entry: Entry, maker: CaseMaker, rng: random.Random) -> list[list[Case]]:
    made = []
    for template, missing in entry.missing:
        text, given = fill(template, rng)
        made.append([Case(text, server, entry.tool, given, missing, context=maker.context(rng))])
    return made


def _akin(server: ServerSpec, other: ServerSpec) -> bool:
    """Whether requests to `other` may well be served by `server`."""
    if other.name.lower() in server.name.lower() or server.name.lower() in other.name.lower():
        return True
    own, theirs = _names(server.tools), _names(other.tools)
    return len(own & theirs) > ALIKE * min(len(own), len(theirs))


def _names(tools: Sequence[ToolSpec]) -> set[str]:
    return {tool.name.lower().replace("-", "_") for tool in tools}
