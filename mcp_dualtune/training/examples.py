"""Cases -> examples: what the model reads and what it should answer, as token ids, grouped by shared prompt start.

A group is several examples over one tool list. Packing lays the list down once and lets every request attend to it, so
one list teaches many requests; the renderer is the one that serving uses.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcp_dualtune.pipeline.facts import facts_for
from mcp_dualtune.prompting import ChoicePrompt, Renderer
from mcp_dualtune.training.augment import (
    noisy,
    renamed_parameters,
    renamed_tools,
    reordered_parameters,
    shuffled_server,
    terse_tool,
    words_of,
)
from mcp_dualtune.training.cases import CaseMaker, none_of
from mcp_dualtune.training.drills import OPENERS, Drills
from mcp_dualtune.training.records import Case, Entry
from mcp_dualtune.types import FINISH, NONE, HistoryItem, Request, ServerSpec, ToolSpec

BRANCHES = 6
LISTED_TOOLS = 20
MANY_PARAMETERS = 5
DRAWN_TOOLS = 12
"""A server with more tools is drawn no more often than one with so many."""


@dataclass(frozen=True)
class Example:
    """One prompt and its answer; `tokens[:stable]` is equal within a group."""

    tokens: tuple[int, ...]
    stable: int
    answer: tuple[int, ...]
    options: tuple[tuple[int, ...], ...] = ()
    """All answers offered, for choices; calibration ranks them."""


Group = list[Any]
Write = Callable[[Case, ToolSpec], Sequence[Any]]
Maker = Callable[[random.Random], Group]


class ExampleMaker:
    """Draws groups of examples of every kind."""

    def __init__(
        self,
        renderer: Renderer,
        cases: CaseMaker,
        *,
        branches: int = BRANCHES,
        listed_tools: int = LISTED_TOOLS,
        write: Write | None = None,
    ) -> None:
        """`branches` requests for each tool list; routing shows at most `listed_tools` of a server's tools.

        `write` makes the examples of arguments from a case and its tool; by default they are prompts with answers.
        """
        self.branches, self.listed_tools, self.write = branches, listed_tools, write or self._written
        self.renderer = renderer
        self.cases = cases
        corpus = cases.corpus
        self.corpus = corpus
        self.listed = [server for server in corpus.catalogue if server.description]
        self.described = [s for s in corpus.catalogue if sum(len(t.description) > 20 for t in s.tools) >= 3]
        phrases = [
            value
            for name in corpus.general
            for entry in corpus.entries[name]
            for template in entry.requests
            for values in template.values.values()
            for value in values
            if isinstance(value, str) and 1 < len(value) < 90
        ]
        self.drills = Drills([s for s in corpus.catalogue if s.name not in corpus.dev], sorted(set(phrases)))
        self.choice_lists = _by(corpus.choices, lambda case: frozenset(tool.name for tool in case.server.tools))
        self.call_tools = _by(corpus.calls, lambda case: (case.server.name, case.tool))

    # -- route ---------------------------------------------------------------------------------------------------

    def route(self, rng: random.Random, targets: Sequence[str], pool: Sequence[str], none: float = 0.1) -> Group:
        """Requests to some of `targets` among servers from `pool` and the catalogue."""
        known = rng.sample(targets, min(len(targets), rng.randint(1, 6)))
        names = set(known)
        # Only where all servers are tuned ones is it known what none of them serves.
        closed = names <= set(self.corpus.tuned) and rng.random() < 0.5
        near = self.corpus.tuned if closed else pool
        distractors = [n for n in rng.sample(list(near), min(len(near), rng.randint(0, 5))) if n not in names]
        shown = {name: self.corpus.servers[name] for name in (*known, *distractors)}
        if not closed and rng.random() < 0.4 and self.listed:
            for server in rng.sample(self.listed, rng.randint(1, 3)):
                shown.setdefault(server.name, server)
        drawn: list[tuple[Request, str]] = []
        needed: dict[str, set[str]] = defaultdict(set)
        for _ in range(self.branches):
            if rng.random() < none:
                refused = closed and rng.random() < 0.7
                text = self.cases.refused(list(shown), rng) if refused else self.cases.stranger(list(shown), pool, rng)
                drawn.append((Request(text), NONE))
                continue
            answer = rng.choice(known)
            case = self.cases.request(answer, rng)
            # What is finished is the select stage's business: routing learns where a request belongs.
            drawn.append((Request(case.query, () if case.tool == FINISH else case.history), answer))
            needed[answer] |= {case.tool} | {item.call.tool for item in case.history}
        servers = [self._listed_server(server, rng, needed[server.name]) for server in shown.values()]
        rng.shuffle(servers)
        return [choice(self.renderer.route(request, servers), answer) for request, answer in drawn]

    def route_catalogue(self, rng: random.Random) -> Group:
        """Which catalogue server: asked with one of its tools' descriptions, or a request written for it."""
        picked = rng.sample(self.described, rng.randint(3, 8))
        prompts = []
        if self.corpus.prompts and rng.random() < 0.6:
            prompts = rng.sample(self.corpus.prompts, 3)
            picked = [server for _, server in prompts] + picked[:4]
        unique = list({server.name: server for server in picked}.values())
        names = {server.name for server in unique}
        rng.shuffle(unique)
        shown = [self._listed_server(server, rng, set()) for server in unique]
        group = []
        for index in range(self.branches):
            if index < len(prompts):
                query, answer = prompts[index][0][:300], prompts[index][1].name
            elif rng.random() < 0.08:
                other = rng.choice(self.described)
                query, answer = self._described_request(other, rng)[0], other.name if other.name in names else NONE
            else:
                server = rng.choice(unique)
                query, answer = self._described_request(server, rng)[0], server.name
            group.append(choice(self.renderer.route(Request(query), shown), answer))
        return group

    # -- select --------------------------------------------------------------------------------------------------

    def select(self, rng: random.Random, targets: Sequence[str], *, rename: float = 0.4, none: float = 0.07) -> Group:
        """Requests to the tools of one server, its list shuffled, resized, renamed, some descriptions shortened."""
        name = self._drawn(rng, targets)
        server = self._widened(self.corpus.servers[name], rng)
        entries = self.corpus.entries[name]
        keep = {entry.tool for entry in rng.sample(entries, min(len(entries), rng.randint(2, 12)))}
        shown = shuffled_server(server, keep, rng.choice((3, 6, 10, 14, 18, 24)), rng)
        removed = rng.choice(sorted(keep)) if rng.random() < none * 2 and len(shown.tools) > 3 else None
        if removed:
            shown = none_of(shown, removed)
        names = {tool.name for tool in shown.tools}
        cases = []
        for _ in range(self.branches):
            if rng.random() < none:
                others = [other for other in self.corpus.entries if other != name]
                refused = name in self.corpus.refused and rng.random() < 0.7
                text = self.cases.refused([name], rng) if refused else self.cases.stranger([name], others, rng)
                cases.append(Case(text, server, NONE))
                continue
            entry = rng.choice(entries) if removed is None else next(e for e in entries if e.tool == removed)
            case = self.cases.request(name, rng, entry if removed or rng.random() < 0.3 else None)
            if case.tool in names or case.tool == FINISH:
                cases.append(case)
            elif case.tool == removed and not case.history:
                cases.append(replace(case, tool=NONE))
        mapping = {tool.name: tool.name for tool in shown.tools}
        if rng.random() < rename:
            shown, mapping = renamed_tools(shown, rng)
        if rng.random() < rename:
            shown = replace(shown, tools=tuple(terse_tool(tool, rng) for tool in shown.tools))
        if rng.random() < rename / 2:
            shown = replace(shown, name=rng.choice(("server", "tools", "app", "assistant", server.name.upper())))
        return [
            choice(
                self.renderer.select(Request(case.query, _renamed_history(case, mapping)), shown),
                mapping.get(case.tool, case.tool),
            )
            for case in cases
        ]

    def select_catalogue(self, rng: random.Random) -> Group:
        """Which tool does this description belong to, when the list shows other words or names alone."""
        server = rng.choice(self.described)
        shown = shuffled_server(server, set(), rng.choice((4, 8, 12, 16)), rng)
        hidden = rng.random() < 0.7
        listed = replace(shown, tools=tuple(replace(t, description="") for t in shown.tools)) if hidden else shown
        group = []
        for _ in range(self.branches):
            query, tool = self._described_request(shown, rng)
            group.append(choice(self.renderer.select(Request(query), listed), tool))
        return group

    def select_public(self, rng: random.Random) -> Group:
        """Requests from public collections."""
        cases = rng.choice(self.choice_lists) if rng.random() < 0.75 else [rng.choice(self.corpus.choices)]
        picked = [rng.choice(cases) for _ in range(self.branches)] if len(cases) > 1 else cases
        keep = {case.tool for case in picked}
        server = shuffled_server(picked[0].server, keep, rng.choice((5, 10, 16)), rng)
        mapping = {tool.name: tool.name for tool in server.tools}
        if rng.random() < 0.3:
            server, mapping = renamed_tools(server, rng)
        return [
            choice(self.renderer.select(Request(case.query), server), mapping.get(case.tool, case.tool))
            for case in picked
        ]

    # -- arguments -----------------------------------------------------------------------------------------------

    def arguments(
        self, rng: random.Random, targets: Sequence[str], *, rename: float = 0.35, tool: str | None = None
    ) -> Group:
        """Requests to one tool, with its parameters renamed and reordered at times."""
        name = self._drawn(rng, targets)
        entries = [e for e in self.corpus.entries[name] if tool in (None, e.tool) and e.requests]
        # Which value belongs to which parameter is the hard part, so tools with several are drawn more often.
        least = 0 if tool is None else 1
        weights = [max(least, min(self._parameters(name, entry), MANY_PARAMETERS)) for entry in entries]
        if not any(weights):
            return []
        entry = rng.choices(entries, weights)[0]
        cases = [self.cases.single(name, entry, rng) for _ in range(self.branches)]
        chains = [c for c in self.corpus.chains.get(name, ()) if any(s["tool"] == entry.tool for s in c.steps)]
        if chains and rng.random() < 0.4:
            steps = [self.cases.chain_step(rng.choice(chains), rng) for _ in range(4)]
            cases[:2] = [case for case in steps if case.tool == entry.tool][:2] or cases[:2]
        elif rng.random() < 0.3:
            joined = [self.cases.with_history(name, case, rng) for case in cases[:2] if not case.missing]
            cases[:2] = [case for case in joined if case.tool == entry.tool] or cases[:2]
        return self._arguments(cases, rng, rename)

    def arguments_of(self, case: Case) -> Group:
        """One case as it is."""
        return list(self.write(case, next(tool for tool in case.server.tools if tool.name == case.tool)))

    def arguments_drill(self, rng: random.Random) -> Group:
        """Drills over one catalogue tool."""
        tool = rng.choice(self.drills.tools)
        return self._arguments([self.drills.case(rng, tool) for _ in range(self.branches)], rng, 0.3)

    def arguments_public(self, rng: random.Random) -> Group:
        """Calls from public collections."""
        cases = rng.choice(self.call_tools)
        picked = [rng.choice(cases) for _ in range(self.branches)] if len(cases) > 2 else cases[:1]
        return self._arguments(picked, rng, 0.3)

    def _arguments(self, cases: list[Case], rng: random.Random, rename: float) -> Group:
        seed, renaming, reorder = rng.random(), rng.random() < rename, rng.random() < 0.1
        terse = rng.random() < 0.2
        group: Group = []
        for case in cases:
            if renaming:
                case = renamed_parameters(case, random.Random(seed))
            tool = next(tool for tool in case.server.tools if tool.name == case.tool)
            if reorder:
                tool = reordered_parameters(tool, random.Random(seed))
            if terse:
                tool = terse_tool(tool, random.Random(seed))
            group += self.write(case, tool)
        return group

    def _written(self, case: Case, tool: ToolSpec) -> list[Example]:
        facts = facts_for(case.query, tool.input_schema, case.context)
        prompt = self.renderer.arguments(Request(case.query, case.history), tool, case.fixed, facts)
        if not prompt.schema["properties"]:
            return []
        known = {k: v for k, v in (case.arguments or {}).items() if k in prompt.schema["properties"]}
        missing = [name for name in prompt.schema.get("required") or () if name not in known]
        return [Example(prompt.tokens, prompt.stable, self.renderer.template.text_answer(prompt.write(known, missing)))]

    # -- parts ---------------------------------------------------------------------------------------------------

    def _drawn(self, rng: random.Random, servers: Sequence[str]) -> str:
        """One of `servers`: those with more tools that have requests are drawn more often, up to a limit."""
        return rng.choices(servers, [min(len(self.corpus.entries[name]), DRAWN_TOOLS) for name in servers])[0]

    def _parameters(self, server: str, entry: Entry) -> int:
        tool = next(tool for tool in self.corpus.servers[server].tools if tool.name == entry.tool)
        return len(set(tool.input_schema.get("properties") or {}) - set(entry.ambient))

    def _widened(self, server: ServerSpec, rng: random.Random) -> ServerSpec:
        """A server with hardly any choice gets the tools of another one."""
        if len(server.tools) >= 4:
            return server
        known = {tool.name for tool in server.tools}
        other = rng.choice(self.described)
        return replace(server, tools=server.tools + tuple(tool for tool in other.tools[:12] if tool.name not in known))

    def _listed_server(self, server: ServerSpec, rng: random.Random, keep: set[str]) -> ServerSpec:
        shown = shuffled_server(server, keep, self.listed_tools, rng)
        if rng.random() < 0.25:
            return replace(shown, description="")
        wordings = self.corpus.descriptions.get(server.name)
        return replace(shown, description=rng.choice(wordings)) if wordings else shown

    def _described_request(self, server: ServerSpec, rng: random.Random) -> tuple[str, str]:
        """(a request made from the description of one of the server's tools, the tool's name)."""
        tool = rng.choice([t for t in server.tools if len(t.description) > 20] or list(server.tools))
        clause = tool.description.split(". ")[0].split("\n")[0][:160] or " ".join(words_of(tool.name))
        words = [word for word in clause.split() if rng.random() > 0.12]
        query = rng.choice(OPENERS) + " ".join(words)[:1].lower() + " ".join(words)[1:]
        return noisy(query, [], rng), tool.name


def choice(prompt: ChoicePrompt, answer: str) -> Example:
    """A choice whose right answer is the option `answer`."""
    right = prompt.option_tokens[prompt.options.index(answer)]
    return Example(prompt.tokens, prompt.stable, right, prompt.option_tokens)


def _renamed_history(case: Case, mapping: dict[str, str]) -> tuple[HistoryItem, ...]:
    return tuple(
        replace(item, call=replace(item.call, tool=mapping.get(item.call.tool, item.call.tool)))
        for item in case.history
    )


def _by(cases: Sequence[Case], key: Callable[[Case], object]) -> list[list[Case]]:
    grouped: dict[object, list[Case]] = defaultdict(list)
    for case in cases:
        grouped[key(case)].append(case)
    return list(grouped.values())
