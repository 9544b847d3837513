"""A chat model of the user's choice as the writer of requests, behind any OpenAI-compatible address.

Owns what it is asked and what is taken of its answers: JSON of one form, of which every example must be a whole call
that fits the tool's schema, with all its values in the request. The rest is counted by reason. Only names, descriptions
and schemas of the tools are sent.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from mcp_dualtune.config import WriterSettings
from mcp_dualtune.engine.wire import NotOffered, Wire, is_loopback
from mcp_dualtune.errors import EngineError, TrainingError
from mcp_dualtune.prompting.render import without_fixed
from mcp_dualtune.training.gathering.gathered import Gathered, Sourced, whole_example
from mcp_dualtune.training.synthesis.filtering import Sieve
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

SETTING = "dualtune.training.writer"
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


def written(
    settings: WriterSettings, servers: Sequence[ServerSpec], seed: int, say: Callable[[str], None] = lambda line: None
) -> Gathered:
    """Let the model write requests for every tool of `servers`, as many as the settings say, within their time.

    Raises:
        TrainingError: it cannot be asked at all. What fails later is said, counted, and left out.
    """
    if settings.key_env is not None and settings.key is None:
        hint = f"Put the key into it, or remove {SETTING}.key_env."
        raise TrainingError(f"The environment variable {settings.key_env} is not set.", hint=hint)
    if not is_loopback(settings.url):
        say(f"Names, descriptions and schemas of your tools are sent to {settings.url}, because {SETTING}.url says so.")
    writer = _Writer(settings, seed)
    try:
        for server in servers:
            for tool in server.tools:
                made = writer.tool(server, tool)
                say(f"{server.name}/{tool.name}: {made} requests written")
    except EngineError as error:
        if not writer.found:
            hint = f"Correct {SETTING}.url and .model." if isinstance(error, NotOffered) else error.hint
            raise TrainingError(f"The writer of requests: {error.message}", hint=hint) from error
        say(f"The writer of requests stopped: {error.message}")
        writer.left[f"the writer stopped: {error.message}"] += 1
    except TimeoutError:
        say(f"The writer of requests had {settings.minutes:g} minutes ({SETTING}.minutes); the other tools go without.")
        writer.left["tools for which there was no time"] += 1
    finally:
        writer.close()
    return Gathered(tuple(writer.found), dict(writer.left))


class _Writer:
    """One run: the connection, what is found, and what is not taken."""

    def __init__(self, settings: WriterSettings, seed: int) -> None:
        self.found: list[Sourced] = []
        self.left = Counter[str]()
        self._settings = settings
        self._wire = Wire(settings.url, settings.key, settings.seconds, settings.retries, setting=SETTING)
        self._rng = random.Random(f"{seed} writer")
        self._ends = monotonic() + settings.minutes * 60
        self._sieve = Sieve()
        self._bounds_form = True
        """Whether the server takes a JSON schema for its answers; found out by asking."""

    def close(self) -> None:
        self._wire.close()

    def tool(self, server: ServerSpec, tool: ToolSpec) -> int:
        """Ask for requests of one tool, at most half as often again as it should take; says how many were taken."""
        wanted, taken = self._settings.requests, 0
        for _ in range(-(-wanted * 3 // (2 * BATCH))):
            if taken == wanted:
                break
            if monotonic() > self._ends:
                raise TimeoutError
            for row in self._ask(server, tool, min(BATCH, wanted - taken)):
                if taken < wanted and self._takes(row, server, tool):
                    taken += 1
        return taken

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
        self.found.append(Sourced(example, "writer"))
        return True

    def _ask(self, server: ServerSpec, tool: ToolSpec, count: int) -> Iterator[Mapping[str, JSON]]:
        """One question; the examples of its answer that have the right form."""
        schema = without_fixed(tool.input_schema, server.fixed_arguments)
        shown = {"name": tool.name, "description": tool.description, "parameters": schema}
        asked = f"{json.dumps(shown, ensure_ascii=False)}\n\nWrite {count} requests, {self._rng.choice(STYLES)}."
        body = {
            "model": self._settings.model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}],
            "temperature": TEMPERATURE,
            "seed": self._rng.randrange(2**31),
            "max_tokens": LONGEST_ANSWER,
            "stream": False,
        }
        choice = self._first_choice(body, schema)
        message = choice.get("message")
        content = message.get("content") if isinstance(message, Mapping) else None
        if choice.get("finish_reason") == "length":
            self.left[CUT] += 1
            return
        rows = _rows(content)
        if rows is None:
            self.left[FORMLESS] += 1
            return
        for row in rows:
            if isinstance(row, Mapping) and row.keys() == {"request", "arguments"}:
                yield row
            else:
                self.left[FORMLESS] += 1

    def _first_choice(self, body: dict[str, Any], schema: Mapping[str, JSON]) -> Mapping[str, Any]:
        if self._bounds_form:
            try:
                return self._choice({**body, "response_format": _form(schema)})
            except NotOffered:
                # Older servers know no schema for answers; whether anything else is wrong, the next question shows.
                self._bounds_form = False
        return self._choice(body)

    def _choice(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._wire.post("/chat/completions", body)
        choices = answer.get("choices") if isinstance(answer, Mapping) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
            raise self._wire.strange("something that is not a chat completion")
        return choices[0]


def _form(schema: Mapping[str, JSON]) -> JSON:
    """`response_format` as OpenAI, vLLM, Ollama and the llama.cpp server know it."""
    example = {
        "type": "object",
        "properties": {"request": {"type": "string"}, "arguments": dict(schema)},
        "required": ["request", "arguments"],
        "additionalProperties": False,
    }
    whole = {
        "type": "object",
        "properties": {"examples": {"type": "array", "items": example}},
        "required": ["examples"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "examples", "schema": whole}}


def _rows(content: Any) -> list[JSON] | None:
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
