"""Corpus -> cases: expands requests, adds negatives, history and context, and groups cases that share a prompt start.

Owns what a training case looks like. Rendering is `examples`' work, made-up values are `drills`' work.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_dualtune.training import drills
from mcp_dualtune.training.augment import noisy
from mcp_dualtune.training.records import Case, Chain, Entry, RequestTemplate, fill, said, substitute
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.types import FINISH, JSON, HistoryItem, ServerSpec, ToolCall, ToolSpec

VAGUE = ("it", "that one", "this one", "the one I told you about", "that", "the usual one", "the other one")
JOINED = (
    "{a}, then {b}", "{a}. After that {b}", "first {a} and then {b}", "{a} and also {b}", "{a}; when that is done {b}",
    "{a}, and once you have it {b}", "{b}, but before that {a}", "{a} - next {b}",
)  # fmt: skip
DONE = ("Done.", "OK", "Success", "{values}", '{"status": "ok", "result": "{values}"}', "Completed: {values}", "{text}")
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC", "Asia/Kolkata", "Europe/London", "America/Sao_Paulo")
HISTORY_SHARE = 0.14
MISSING_SHARE = 0.12
OPTIONAL_WEIGHT = 1.5


class CaseMaker:
    """Draws cases from a corpus; all randomness comes from the Random that each call is given."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self._texts = [text for text in corpus.texts[:4000] if text] or ["ok"]

    def request(self, server: str, rng: random.Random, entry: Entry | None = None) -> Case:
        """A request to one tool of `server`, single or with a history."""
        chains = self.corpus.chains.get(server)
        if entry is None and chains and rng.random() < 0.2:
            return self.chain_step(rng.choice(chains), rng)
        drawn = entry or rng.choice(self.corpus.entries[server])
        if drawn.choices and rng.random() < self._choices_share(server, drawn):
            text = noisy(rng.choice(drawn.choices).text, [], rng)
            return Case(text, self.corpus.servers[server], drawn.tool, context=self.context(rng))
        case = self.single(server, drawn, rng)
        if entry is None and not case.missing and rng.random() < HISTORY_SHARE:
            return self.with_history(server, case, rng)
        return case

    def single(self, server: str, entry: Entry, rng: random.Random) -> Case:
        """A request answered by one call, or by asking for what is missing."""
        spec = self.corpus.servers[server]
        tool = _tool(spec, entry.tool)
        required = set(tool.input_schema.get("required") or ())
        context = self.context(rng)
        fixed: dict[str, JSON] = {}
        missing: tuple[str, ...] = ()
        if entry.missing and rng.random() < MISSING_SHARE:
            template, missing = rng.choice(entry.missing)
            text, arguments = fill(template, rng)
        else:
            template = rng.choices(entry.requests, [wanted(template, required) for template in entry.requests])[0]
            text, arguments = fill(template, rng)
            places = [name for name in template.places if name in required and name not in entry.ambient]
            if len(places) == 1 and rng.random() < 0.05:
                vague = template.text.replace("{" + places[0] + "}", rng.choice(VAGUE))
                text, arguments = fill(replace(template, text=vague), rng)
                missing = (places[0],)
        for name in entry.ambient:
            if name not in arguments:
                roll = rng.random()
                context = {key: fact for key, fact in context.items() if key not in ("root", "cwd")}
                if roll < 0.5:
                    fixed[name] = drills.folder(rng)
                elif roll < 0.8:
                    arguments[name] = drills.folder(rng)
                    context[rng.choice((name, "cwd", "repository", "workspace", "root"))] = str(arguments[name])
                else:
                    missing = (*missing, name)
        protected = [value for value in _strings(arguments) if value]
        if not missing or not protected:
            text = noisy(text, protected, rng)
        return Case(text, spec, tool.name, arguments, missing, (), context, fixed)

    def with_history(self, server: str, case: Case, rng: random.Random) -> Case:
        """The request after its call was made (finish), or two requests in one after the first call, or before it."""
        done = HistoryItem(ToolCall(server, case.tool, dict(case.arguments or {})), self.result(server, case, rng))
        if rng.random() < 0.4:
            return replace(case, tool=FINISH, arguments=None, history=(done,))
        other = self.single(server, rng.choice([e for e in self.corpus.entries[server] if e.requests]), rng)
        if other.missing:
            return replace(case, tool=FINISH, arguments=None, history=(done,))
        text = rng.choice(JOINED).replace("{a}", case.query.rstrip(".")).replace("{b}", other.query)
        roll = rng.random()
        if roll < 0.35:
            return replace(case, query=text)
        if roll < 0.8:
            return replace(other, query=text, history=(done,))
        second = HistoryItem(ToolCall(server, other.tool, dict(other.arguments or {})), self.result(server, other, rng))
        return replace(other, query=text, tool=FINISH, arguments=None, history=(done, second))

    def chain_step(self, chain: Chain, rng: random.Random) -> Case:
        """One step of a written chain: the call at that point, or `finish` after the last."""
        known = {name: said(rng.choice(list(values))) for name, values in chain.values.items()}
        query = chain.text
        for name, (shown, _) in known.items():
            query = query.replace("{" + name + "}", shown)
        at = rng.randrange(len(chain.steps) + 1)
        spec = self.corpus.servers[chain.server]
        history = tuple(
            HistoryItem(
                ToolCall(chain.server, step["tool"], _arguments(step, known)),
                str(substitute(step.get("result") or "", known)),
            )
            for step in chain.steps[:at]
        )
        if at == len(chain.steps):
            return Case(query, spec, FINISH, None, (), history, self.context(rng))
        step = chain.steps[at]
        arguments = _arguments(step, known)
        tool = _tool(spec, step["tool"])
        fixed = {}
        if any(name in ("repo_path",) and name not in arguments for name in tool.input_schema.get("required") or ()):
            fixed["repo_path"] = drills.folder(rng)
        return Case(query, spec, step["tool"], arguments, (), history, self.context(rng), fixed)

    def result(self, server: str, case: Case, rng: random.Random) -> str:
        """A plausible result text of the case's call."""
        entry = next((e for e in self.corpus.entries[server] if e.tool == case.tool), None)
        values = " ".join(_strings(case.arguments or {}))[:120]
        good = [r for r in entry.results if not r.lower().startswith("error")] if entry else []
        if good:
            text = rng.choice(good)
            for name, value in (case.arguments or {}).items():
                text = text.replace("{" + name + "}", str(value))
            return text
        return rng.choice(DONE).replace("{values}", values).replace("{text}", rng.choice(self._texts)[:300])

    def context(self, rng: random.Random) -> dict[str, str]:
        """Ambient facts as the gateway gives them; often more than the request needs."""
        facts: dict[str, str] = {}
        if rng.random() < 0.6:
            facts["today"] = f"{rng.randint(2023, 2027)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        if rng.random() < 0.5:
            facts["timezone"] = rng.choice(ZONES)
        if rng.random() < 0.3:
            facts[rng.choice(("root", "cwd"))] = drills.folder(rng)
        return facts

    def refused(self, servers: Sequence[str], rng: random.Random) -> str:
        """A request that comes near some of `servers`, all of them tuned ones, or near none; no tuned one serves it."""
        near = [name for name in servers if name in self.corpus.refused]
        name = rng.choice(near) if near and rng.random() < 0.6 else ""
        return noisy(rng.choice(self.corpus.refused[name]), [], rng)

    def stranger(self, servers: Sequence[str], pool: Sequence[str], rng: random.Random) -> str:
        """A request that none of `servers` can serve: to a server elsewhere, or small talk."""
        if rng.random() < 0.25:
            lines = rng.choice(self._texts).split("\n")
            return rng.choice(lines)[:160] or "hello there"
        others = [name for name in pool if name not in servers]
        name = rng.choice(others or list(self.corpus.entries))
        return self.single(name, rng.choice(self.corpus.entries[name]), rng).query

    def _choices_share(self, server: str, entry: Entry) -> float:
        """The share of requests to a tool of which only the tool is known."""
        required = set(_tool(self.corpus.servers[server], entry.tool).input_schema.get("required") or ())
        only = sum(template.weight for template in entry.choices)
        return only / (only + sum(wanted(template, required) for template in entry.requests))


def wanted(template: RequestTemplate, required: set[str]) -> float:
    """How often a wording is drawn: those that set optional parameters are fewer, and harder."""
    optional = {*template.arguments, *template.places} - required
    return template.weight * (1.0 + OPTIONAL_WEIGHT * len(optional))


def none_of(server: ServerSpec, tool: str) -> ServerSpec:
    """`server` without `tool` and without tools that share most of its name."""
    words = set(tool.lower().replace("-", "_").split("_"))
    kept = [t for t in server.tools if len(words & set(t.name.lower().replace("-", "_").split("_"))) * 2 <= len(words)]
    return replace(server, tools=tuple(kept))


def _tool(server: ServerSpec, name: str) -> ToolSpec:
    return next(tool for tool in server.tools if tool.name == name)


def _arguments(step: Mapping[str, JSON], known: Mapping[str, tuple[str, JSON]]) -> dict[str, JSON]:
    return {name: substitute(value, known) for name, value in (step.get("args") or {}).items()}


def _strings(value: JSON) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [str(value)] if isinstance(value, str | int | float) and not isinstance(value, bool) else []
