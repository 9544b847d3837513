"""A chat model of the user's choice as the writer of requests, behind any OpenAI-compatible address.

Owns the connection and its limits. Refuses to own: what is asked and what is taken of the answers (`asking`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from mcp_dualtune.config import WriterSettings
from mcp_dualtune.engine.wire import NotOffered, Wire, is_loopback
from mcp_dualtune.errors import EngineError, TrainingError
from mcp_dualtune.training.gathering.asking import BATCH, LONGEST_ANSWER, TEMPERATURE, Asking, Question
from mcp_dualtune.training.gathering.gathered import Gathered
from mcp_dualtune.types import JSON, ServerSpec, ToolSpec

SETTING = "dualtune.training.writer"


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
        if not writer.asking.found:
            hint = f"Correct {SETTING}.url and .model." if isinstance(error, NotOffered) else error.hint
            raise TrainingError(f"The writer of requests: {error.message}", hint=hint) from error
        say(f"The writer of requests stopped: {error.message}")
        writer.asking.left[f"the writer stopped: {error.message}"] += 1
    except TimeoutError:
        say(f"The writer of requests had {settings.minutes:g} minutes ({SETTING}.minutes); the other tools go without.")
        writer.asking.left["tools for which there was no time"] += 1
    finally:
        writer.close()
    return Gathered(tuple(writer.asking.found), dict(writer.asking.left))


class _Writer:
    """One run: the connection, and when it ends."""

    def __init__(self, settings: WriterSettings, seed: int) -> None:
        self.asking = Asking("writer", f"{seed} writer")
        self._settings = settings
        self._wire = Wire(settings.url, settings.key, settings.seconds, settings.retries, setting=SETTING)
        self._ends = monotonic() + settings.minutes * 60
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
            choice = self._ask(self.asking.question(server, tool, min(BATCH, wanted - taken)))
            message = choice.get("message")
            content = message.get("content") if isinstance(message, Mapping) else None
            cut = choice.get("finish_reason") == "length"
            taken += self.asking.take(content, server, tool, wanted - taken, cut=cut)
        return taken

    def _ask(self, question: Question) -> Mapping[str, Any]:
        """The first choice of the answer, in the form asked for where the server can hold its model to one."""
        body = {
            "model": self._settings.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": question.text}],
            "temperature": TEMPERATURE,
            "seed": question.seed,
            "max_tokens": LONGEST_ANSWER,
            "stream": False,
        }
        if self._bounds_form:
            try:
                return self._choice({**body, "response_format": _bound(question.form)})
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


def _bound(form: JSON) -> JSON:
    """`response_format` as OpenAI, vLLM, Ollama and the llama.cpp server know it."""
    return {"type": "json_schema", "json_schema": {"name": "examples", "schema": form}}
