"""The naive way, as a baseline: one prompt with every tool and its schema, and the causal model writes the whole call.

Owns that prompt and reading its answer. It is given what our stages have, too: a grammar under which every answer is a
call of a tool that exists, a way to say that nothing fits or that a value is missing, and a cache of the tools' part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from threading import Event
from time import perf_counter
from typing import Any

from mcp_dualtune.catalog.catalog import Catalog
from mcp_dualtune.config import Config
from mcp_dualtune.engine.base import Engine, GenerationRequest
from mcp_dualtune.errors import EngineError, ModelLoadError
from mcp_dualtune.evaluation.cases import Case
from mcp_dualtune.evaluation.harness import Prediction, as_request
from mcp_dualtune.prompting.answer import GUIDANCE, Plain
from mcp_dualtune.prompting.render import without_fixed
from mcp_dualtune.prompting.templates.chat import SPLIT
from mcp_dualtune.types import JSON, NONE, Request, ToolSpec

SYSTEM = (
    'Answer with one JSON object: {"tool": "server.tool", "arguments": {...}}. Copy values from the request exactly. '
    f'Write "<|ask|>" for a required value that is not given, and {{"tool": "{NONE}"}} where no tool fits. The tools:\n'
)
LONGEST = 256
"""Tokens of an answer; what is not complete by then is wrong."""


class OnePrompt:
    """All tools of a catalog in one prompt for one causal model, without any adapter."""

    def __init__(self, engine: Engine, catalog: Catalog) -> None:
        self._engine, self._catalog = engine, catalog
        self._tools = {f"{tool.server}.{tool.name}": tool for tool in catalog.tools}
        self._fixed = {server.name: server.fixed_arguments for server in catalog.servers}
        self._schema: dict[str, JSON] = {"anyOf": [self._call(name) for name in self._tools] + [_only({"const": NONE})]}
        self._head = self._encode(self._prompt("")[0])
        self.tokens = len(self._head)
        """Length of the part with the tools."""

    @property
    def shown(self) -> int:
        """How much of that part the model can read at most, beside an answer."""
        return min(self.tokens, max(self._engine.context_length - LONGEST, 0))

    @property
    def is_cut(self) -> bool:
        """Whether the model cannot read all tools."""
        return self.shown < self.tokens

    def run(self, cases: Iterable[Case], config: Config) -> Iterator[Prediction]:
        """Decide case by case.

        Raises:
            ModelLoadError: nothing can be decided at all. What goes wrong in one case is that case's prediction.
        """
        for case in cases:
            started = perf_counter()
            try:
                found = self._decide(case.id, as_request(case, config))
            except ModelLoadError:
                raise
            except (EngineError, ValueError) as error:
                found = Prediction(case.id, "error", error=str(error))
            yield Prediction(**{**vars(found), "ms": (perf_counter() - started) * 1000})

    def _decide(self, name: str, request: Request) -> Prediction:
        tail = self._encode(self._prompt(_words(request))[1])
        # What does not fit is cut at the end of the tools, as clients and servers cut.
        head = self._head[: max(self._engine.context_length - len(tail) - LONGEST, 0)]
        grammar = "start: %json " + json.dumps({**self._schema, "x-guidance": GUIDANCE})
        asked = GenerationRequest(head + tail, grammar, None, len(head), LONGEST, self._schema)
        completion = self._engine.generate(asked, Event())
        if not completion.complete:
            return Prediction(name, "error", error=f"The answer had no end after {LONGEST} tokens.")
        value = json.loads(completion.text)
        confidence = prod(completion.probabilities)
        if value["tool"] == NONE:
            return Prediction(name, "none", confidence=confidence)
        tool = self._tools[value["tool"]]
        parsed = Plain().parse(json.dumps(value["arguments"]), tool.input_schema)
        arguments = {**parsed.arguments, **self._given(tool)}
        outcome: Any = "ask" if parsed.missing else "call"
        return Prediction(name, outcome, tool.server, tool.name, arguments, parsed.missing, confidence)

    def _call(self, name: str) -> JSON:
        tool = self._tools[name]
        open_part = without_fixed(tool.input_schema, self._given(tool))
        return _only({"const": name}, arguments=Plain().json_schema(open_part))

    def _given(self, tool: ToolSpec) -> Mapping[str, JSON]:
        known = tool.input_schema.get("properties") or {}
        return {name: value for name, value in self._fixed[tool.server].items() if name in known}

    def _prompt(self, words: str) -> tuple[str, str]:
        """The part with the tools, which is the same for every request, and the rest, in the model's own form."""
        listed = [
            {"name": name, "description": tool.description, "parameters": tool.input_schema}
            for name, tool in self._tools.items()
        ]
        tools = SYSTEM + json.dumps(listed, ensure_ascii=False)
        if not self._engine.tokenizer.chat_template:
            return tools, f"\n{words}\nCall: "
        messages = [{"role": "system", "content": tools}, {"role": "user", "content": SPLIT + words}]
        text = self._engine.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        head, _, rest = text.partition(SPLIT)
        return head, rest

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._engine.tokenizer.encode(text, add_special_tokens=False, verbose=False))


def _words(request: Request) -> str:
    history = "".join(
        f"Called {item.call.server}.{item.call.tool} {json.dumps(item.call.arguments)}\nResult: {item.result}\n"
        for item in request.history
    )
    facts = "".join(f"{name}: {value}\n" for name, value in request.context.items())
    return f"{facts}{history}Request: {request.text}"


def _only(tool: JSON, **more: JSON) -> JSON:
    properties = {"tool": tool, **more}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
