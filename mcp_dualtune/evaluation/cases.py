"""Evaluation cases: a suite file -> checked records.

Owns the suite format, where the built-in suites lie, and every complaint about a suite. Refuses to own: running cases
and judging answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import cast

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.errors import CatalogError, RequestError
from mcp_dualtune.types import JSON, HistoryItem, Outcome, ToolCall

RULES = ("any", "ci", "path", "number", "unordered")
"""How argument values may be compared, beside `contains:TEXT`."""
CONTAINS = "contains:"
BUILT_IN = {"seven": ("seven_servers.jsonl", "catalog.json"), "unseen": ("unseen_servers.jsonl", "unseen_catalog.json")}
"""By name: the files of a suite that comes with the package, and of its catalog."""
_KEYS = {"id", "query", "history", "servers", "expect", "accept", "argument_rules", "kind"}


class SuiteError(RequestError):
    """The suite of evaluation cases cannot be used."""


@dataclass(frozen=True)
class Answer:
    """One right answer of a case; what its outcome does not need is empty."""

    outcome: Outcome
    server: str | None = None
    tool: str | None = None
    arguments: Mapping[str, JSON] | None = None
    """Only of a call; None where only the tool is known, so that any are right (a suite always knows them)."""
    missing: frozenset[str] = frozenset()
    """Only of `ask`."""


@dataclass(frozen=True)
class Case:
    """One request with everything that counts as a right answer."""

    id: str
    query: str
    kind: str
    answers: tuple[Answer, ...]
    """The expected answer first, then the others that are accepted."""
    rules: Mapping[str, str]
    """By top-level argument name: how its value is compared; without a rule it must be equal."""
    history: tuple[HistoryItem, ...] = ()
    servers: tuple[str, ...] | None = None
    """Servers offered; None offers the whole catalog."""

    @property
    def expected(self) -> Answer:
        """What the case is written for; the accepted ones are as good."""
        return self.answers[0]


def built_in(name: str) -> tuple[Path, Path] | None:
    """Suite file and catalog file of a built-in suite, or None when there is none of this name."""
    if name not in BUILT_IN:
        return None
    folder = Path(str(resources.files("mcp_dualtune.evaluation"))) / "suites"
    suite, catalog = BUILT_IN[name]
    return folder / suite, folder / catalog


def load_suite(path: Path) -> tuple[Case, ...]:
    """Read a suite: JSON Lines, one case a line, empty lines ignored.

    Raises:
        SuiteError: it cannot be read, a line is no case, an id occurs twice, or there is no case; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        hint = f"Give a suite file, or the name of a built-in suite: {', '.join(BUILT_IN)}."
        raise SuiteError(f"Cannot read the suite {path}: {reason}.", hint=hint) from error
    cases: dict[str, Case] = {}
    places: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        case = _Reader(f"{path}:{number}").case(line)
        if case.id in cases:
            raise SuiteError(
                f"{path}:{number}: the id {case.id!r} is that of line {places[case.id]} too.",
                hint="Give every case an id of its own.",
            )
        cases[case.id], places[case.id] = case, number
    if not cases:
        raise SuiteError(f"{path}: there is no case in it.", hint="A suite has one case a line, as JSON.")
    return tuple(cases.values())


def check_against(cases: tuple[Case, ...], catalog: Catalog) -> None:
    """See to it that every case can be answered from `catalog`: otherwise a score would say nothing of the model.

    Raises:
        SuiteError: a case offers or expects what the catalog does not have, or expects what it does not offer.
    """
    for case in cases:
        try:
            offered = catalog.restrict(case.servers)
            for answer in case.answers:
                if answer.server is None or answer.tool is None:
                    continue
                schema = offered.tool(answer.server, answer.tool).input_schema
                unknown = {*(answer.arguments or ()), *answer.missing} - (schema.get("properties") or {}).keys()
                # A schema may allow more than it lists.
                if unknown and schema.get("additionalProperties") is False:
                    raise CatalogError(f"{answer.server}/{answer.tool} has no parameter {min(unknown)!r}.")
        except CatalogError as error:
            hint = f"Use the catalog that the suite was written for. {error.hint}".strip()
            raise SuiteError(f"The case {case.id} does not fit the catalog: {error.message}", hint=hint) from error


class _Reader:
    """Reads one line; every complaint starts with its place."""

    def __init__(self, place: str) -> None:
        self.place = place

    def wrong(self, problem: str) -> SuiteError:
        hint = 'A case has "id", "query" and "expect"; evaluation/suites/README.md describes all of it.'
        return SuiteError(f"{self.place}: {problem}.", hint=hint)

    def case(self, line: str) -> Case:
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"it is not JSON ({error})") from error
        if not isinstance(raw, dict):
            raise self.wrong("a case is a JSON object")
        if unknown := raw.keys() - _KEYS:
            raise self.wrong(f"unknown key {min(unknown)!r}")
        accept = self.list_of(raw.get("accept"), "accept", dict)
        expected = self.answer(raw.get("expect"), "expect")
        others = tuple(self.answer(other, f"accept[{index}]") for index, other in enumerate(accept))
        servers = None if raw.get("servers") is None else tuple(self.list_of(raw["servers"], "servers", str))
        if servers == ():
            raise self.wrong('"servers" is empty; leave it out to offer all')
        history = enumerate(self.list_of(raw.get("history"), "history", dict))
        return Case(
            id=self.text(raw.get("id"), "id"),
            query=self.text(raw.get("query"), "query"),
            kind=self.text(raw.get("kind", "other"), "kind"),
            answers=(expected, *others),
            rules=self.rules(raw.get("argument_rules")),
            history=tuple(self.item(item, f"history[{index}]") for index, item in history),
            servers=servers,
        )

    def answer(self, raw: JSON, where: str) -> Answer:
        if not isinstance(raw, dict):
            raise self.wrong(f'"{where}" is not an object')
        keys = set(raw)
        if keys == {"finish"} and raw["finish"] is True:
            return Answer("finish")
        if keys == {"server"} and raw["server"] is None:
            return Answer("none")
        if keys == {"server", "tool", "missing"}:
            missing = frozenset(self.list_of(raw["missing"], f"{where}.missing", str))
            if not missing:
                raise self.wrong(f'"{where}.missing" is empty')
            return Answer("ask", *self.target(raw, where), missing=missing)
        if keys == {"server", "tool", "arguments"}:
            if not isinstance(raw["arguments"], dict):
                raise self.wrong(f'"{where}.arguments" is not an object')
            return Answer("call", *self.target(raw, where), raw["arguments"])
        raise self.wrong(
            f'"{where}" is none of {{server, tool, arguments}}, {{server, tool, missing}}, {{"server": null}} '
            'and {"finish": true}'
        )

    def target(self, raw: Mapping[str, JSON], where: str) -> tuple[str, str]:
        return self.text(raw["server"], f"{where}.server"), self.text(raw["tool"], f"{where}.tool")

    def rules(self, raw: JSON) -> dict[str, str]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise self.wrong('"argument_rules" is not an object')
        for name, rule in raw.items():
            known = isinstance(rule, str) and (
                rule in RULES or (rule.startswith(CONTAINS) and len(rule) > len(CONTAINS))
            )
            if not known:
                raise self.wrong(f"the rule {rule!r} of {name!r} is none of {', '.join(RULES)}, contains:TEXT")
        return cast(dict[str, str], raw)

    def item(self, raw: Mapping[str, JSON], where: str) -> HistoryItem:
        call = raw.get("call")
        if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
            raise self.wrong(f'"{where}.call" is no object with server, tool and arguments')
        if not isinstance(raw.get("result"), str):
            raise self.wrong(f'"{where}.result" is not a text')
        server, tool = self.target({"server": call.get("server"), "tool": call.get("tool")}, f"{where}.call")
        return HistoryItem(ToolCall(server, tool, call["arguments"]), raw["result"])

    def text(self, raw: JSON, where: str) -> str:
        if not isinstance(raw, str) or not raw.strip():
            raise self.wrong(f'"{where}" is missing or not a text')
        return raw

    def list_of(self, raw: JSON, where: str, kind: type) -> list[JSON]:
        if raw is None:
            return []
        if not isinstance(raw, list) or not all(isinstance(item, kind) for item in raw):
            raise self.wrong(f'"{where}" is not a list of {"texts" if kind is str else "objects"}')
        return raw
