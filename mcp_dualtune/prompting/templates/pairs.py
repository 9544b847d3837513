"""The template for encoders: the request and every option are texts of their own, compared by the engine.

    prompt     [CLS] request [SEP] (tool arguments : result [SEP])*
    server     [CLS] name: description, tools [SEP]  and  [CLS] tool: description (parameters) [SEP]  for each tool
    tool       [CLS] tool: description (parameters) [SEP]  and, where parameters are explained or have options,
               [CLS] tool: first sentence (parameter - explanation [options]; ...) [SEP]
    exemplar   [CLS] request [SEP]

An option of several passages is as good as its best one, so a server is found by any of its tools. An encoder has no
answer to write, so the third stage needs another model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.errors import EngineError
from mcp_dualtune.prompting.answer import SEPARATORS, Plain
from mcp_dualtune.prompting.schema_text import literal_text, one_line
from mcp_dualtune.types import FINISH, JSON, NONE, Request, ServerSpec, ToolSpec

CHOICES = {NONE: "none of this fits the request", FINISH: "the request is answered, nothing is left to do"}
REQUEST_TOKENS = 160
"""A longer request keeps its head and tail."""
HISTORY_ITEMS, CALL_TOKENS, RESULT_TOKENS = 3, 32, 32
SERVER_TOKENS, TOOL_TOKENS, PARAMETER_TOKENS, DETAIL_TOKENS = 64, 48, 24, 128
OPTIONS = 8
"""Of one parameter that are shown."""

SENTENCE = re.compile(r"(?<=[.!?])\s")

Tokens = tuple[int, ...]


class PairTemplate:
    """Prompts for a tokenizer of the BERT family."""

    def __init__(self, tokenizer: Any) -> None:
        self.answer = Plain()
        self._tokenizer = tokenizer
        self._start, self._end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        self._parts: dict[str, Tokens] = {}

    @staticmethod
    def fits(tokenizer: Any) -> bool:
        """Whether the tokenizer belongs to an encoder."""
        return tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None

    def route(self, request: Request, servers: Sequence[ServerSpec]) -> tuple[Tokens, Tokens]:
        """The request; the servers are options."""
        return (), self._request(request)

    def select(self, request: Request, server: ServerSpec) -> tuple[Tokens, Tokens]:
        """The request; the tools are options."""
        return (), self._request(request)

    def arguments(
        self, request: Request, tool: ToolSpec, schema: Mapping[str, JSON], context: Mapping[str, str]
    ) -> tuple[Tokens, Tokens]:
        """Not for encoders.

        Raises:
            EngineError: always.
        """
        raise EngineError("An encoder cannot write arguments.", hint="Use a causal language model for this stage.")

    def option(self, item: ServerSpec | ToolSpec | str) -> Tokens:
        """The passages of one option."""
        if isinstance(item, str):
            return self._passage(self._text(CHOICES[item]))
        if isinstance(item, ToolSpec):
            return self._tool(item)
        names = ", ".join(spaced(tool.name) for tool in item.tools)
        about = f"{one_line(item.description)}. {names}" if item.description else names
        passages = self._passage(self._text(f"{spaced(item.name)}: {about}")[:SERVER_TOKENS])
        for tool in item.tools:
            passages += self._tool(tool)
        return passages

    def exemplar(self, text: str) -> Tokens:
        """The passage of an earlier request, as a request without a history is read."""
        return self._passage(self._ends(self._text(text), REQUEST_TOKENS))

    def text_answer(self, text: str) -> Tokens:
        """Not for encoders.

        Raises:
            EngineError: always.
        """
        raise EngineError("An encoder cannot write arguments.", hint="Use a causal language model for this stage.")

    def _tool(self, tool: ToolSpec) -> Tokens:
        name, description = spaced(tool.name), one_line(tool.description)
        parameters = tool.input_schema.get("properties") or {}
        about = self._text(f"{name}: {description}")[:TOOL_TOKENS]
        names = ", ".join(map(spaced, parameters))
        brief = self._passage(about + self._text(f"({names})")[:PARAMETER_TOKENS] if names else about)
        details = [_detail(parameter, schema) for parameter, schema in parameters.items()]
        if details == list(map(spaced, parameters)):
            return brief
        text = f"{name}: {SENTENCE.split(description, maxsplit=1)[0]} ({'; '.join(details)})"
        return brief + self._passage(self._text(text)[:DETAIL_TOKENS])

    def _request(self, request: Request) -> Tokens:
        tokens = [self._start, *self._ends(self._text(request.text), REQUEST_TOKENS), self._end]
        for item in request.history[-HISTORY_ITEMS:]:
            arguments = json.dumps(item.call.arguments, ensure_ascii=False, separators=SEPARATORS)
            tokens += self._text(f"done: {spaced(item.call.tool)} {arguments[:200]}")[:CALL_TOKENS]
            tokens += [self._end, *self._ends(self._text(item.result[:1000]), RESULT_TOKENS), self._end]
        return tuple(tokens)

    def _passage(self, tokens: Tokens) -> Tokens:
        return (self._start, *tokens, self._end)

    def _text(self, text: str) -> Tokens:
        """Tokens of plain text: markers written in it stay text."""
        found = self._parts.get(text)
        if found is None:
            # Long texts are cut here, so the tokenizer need not warn of them.
            encoded = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
            found = tuple(encoded)
            if len(self._parts) >= 20_000:  # bounds memory in a long training run; serving stays far below
                self._parts.clear()
            self._parts[text] = found
        return found

    def _ends(self, tokens: Tokens, limit: int) -> Tokens:
        return tokens if len(tokens) <= limit else tokens[: limit * 2 // 3] + tokens[-(limit // 3) :]


def _detail(name: str, schema: JSON) -> str:
    """A parameter with its explanation and its options, as far as it has any."""
    if not isinstance(schema, Mapping):
        return spaced(name)
    items = schema.get("items")
    options = schema.get("enum") or (items.get("enum") if isinstance(items, Mapping) else None)
    explained = one_line(description) if isinstance(description := schema.get("description"), str) else ""
    shown = ", ".join(map(literal_text, options[:OPTIONS])) if isinstance(options, list) else ""
    return spaced(name) + (f" - {explained}" if explained else "") + (f" [{shown}]" if shown else "")


def spaced(name: str) -> str:
    """`getUser_id` -> `get User id`: words that a vocabulary knows."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\sA-Za-z\d_\-./]+", name)) or name
