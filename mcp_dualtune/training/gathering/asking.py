"""What a model that writes requests is asked, and what is taken of its answers, however it is reached.

Owns the question and the checks: JSON of one form, of which every example must be a whole call that fits the tool's
schema, with all its values in the request. The rest is counted by reason. Only names, descriptions and schemas of the
tools are shown. Refuses to own: who answers (`writer`, `sampled`), and how much is asked.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.prompting.render import without_fixed
from mcp_dualtune.security.untrusted import clean_tool
from mcp_dualtune.training.gathering.gathered import Source, Sourced, whole_example
from mcp_dualtune.training.synthesis.filtering import Sieve
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

BATCH = 6
"""Requests asked for in one question: small models lose the form in long answers."""
LONGEST_ANSWER = 3000
"""Tokens."""
TEMPERATURE = 0.9
STYLES = (
    "short, as typed in a hurry", "polite, in whole sentences", "as questions", "with a reason or a story around them",
    "in casual words, small letters, little punctuation", "as orders to an assistant", "in roundabout words that avoid "
    "those of the tool",
)  # fmt: skip
SYSTEM = (
    "You write requests that people would type to an assistant that has one tool. You are given the tool. Write "
    'requests in English and the arguments of the call that answers each. Answer with JSON only: {"examples": '
    '[{"request": "...", "arguments": {...}}]}. Rules: never mention the tool or the names of its parameters; every '
    "value of the arguments stands in the request, letter by letter; make values up that real people might have, never "
    "placeholders; give the optional arguments in some of the requests, and leave them out of both in the others."
)
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*)\n```\s*", re.DOTALL)
FORMLESS, CUT = "an answer that is not the JSON asked for", "an answer that was cut"
NAMES_TOOL, REPEATED = "a request that names the tool", "a repetition"


@dataclass(frozen=True)
class Question:
    """One question to a model."""

    text: str
    form: JSON
    """JSON schema of the answer, for models that can be held to one."""
    seed: int
    system: str = SYSTEM


class Asking:
    """The questions of one run, what was taken of the answers, and by reason how much was not."""

    def __init__(self, source: Source, seed: str, before: Sequence[OwnExample] = ()) -> None:
        self.found: list[Sourced] = []
        self.left = Counter[str]()
        self._source: Source = source
        self._rng = random.Random(seed)
        self._sieve = Sieve()
        for one in before:
            self._sieve.keeps_text(one.request, f"{one.server}/{one.tool}")

    def question(self, server: ServerSpec, tool: ToolSpec, count: int) -> Question:
        """Ask for `count` requests to a tool, at most `BATCH`, each time in another style."""
        cleaned = clean_tool(tool)
        schema = without_fixed(cleaned.input_schema, server.fixed_arguments)
        shown = {"name": tool.name, "description": cleaned.description, "parameters": schema}
        asked = f"{json.dumps(shown, ensure_ascii=False)}\n\nWrite {count} requests, {self._rng.choice(STYLES)}."
        return Question(asked, _form(schema), self._rng.randrange(2**31))

    def take(self, content: Any, server: ServerSpec, tool: ToolSpec, count: int, *, cut: bool = False) -> int:
        """Take of an answer what is right, at most `count` requests; says how many were taken."""
        taken = 0
        for row in self._rows(content, cut):
            if taken < count and self._takes(row, server, tool):
                taken += 1
        return taken

    def _rows(self, content: Any, cut: bool) -> Iterator[Mapping[str, JSON]]:
        if cut:
            self.left[CUT] += 1
            return
        rows = _examples(content)
        if rows is None:
            self.left[FORMLESS] += 1
            return
        for row in rows:
            if isinstance(row, Mapping) and row.keys() == {"request", "arguments"}:
                yield row
            else:
                self.left[FORMLESS] += 1

    def _takes(self, row: Mapping[str, JSON], server: ServerSpec, tool: ToolSpec) -> bool:
        try:
            example = whole_example({**row, "server": server.name, "tool": tool.name}, [server])
        except TrainingError as error:
            self.left[error.message if len(error.message) < 60 else "arguments that do not fit the schema"] += 1
            return False
        if re.search(r"[_\-.]|[a-z][A-Z]", tool.name) and tool.name in example.request:
            self.left[NAMES_TOOL] += 1
            return False
        if not self._sieve.keeps_text(example.request, f"{server.name}/{tool.name}"):
            self.left[REPEATED] += 1
            return False
        self.found.append(Sourced(example, self._source))
        return True


def _form(schema: Mapping[str, JSON]) -> JSON:
    example = {
        "type": "object",
        "properties": {"request": {"type": "string"}, "arguments": dict(schema)},
        "required": ["request", "arguments"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"examples": {"type": "array", "items": example}},
        "required": ["examples"],
        "additionalProperties": False,
    }


def _examples(content: Any) -> list[JSON] | None:
    """The examples of an answer: nothing but the JSON asked for, at most fenced as code; None for anything else."""
    if not isinstance(content, str):
        return None
    fenced = _FENCE.fullmatch(content)
    try:
        value = json.loads(fenced[1] if fenced else content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.keys() != {"examples"} or not isinstance(value["examples"], list):
        return None
    return value["examples"]
