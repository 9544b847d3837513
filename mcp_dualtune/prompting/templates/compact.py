"""The embedded model's template: marker tokens instead of sentences.

    route      <|route|>(<|item|> name: description [tool, tool])* | history <|request|> text <|answer|>
    select     <|select|> server (<|item|> tool: description (parameter, ...))* | history <|request|> text <|answer|>
    arguments  <|arguments|> tool: description (<|item|> name*: type - description)* | facts history <|request|> ...

Everything before `|` is the stable part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.prompting.answer import ASK, COPY, SEPARATORS, SKIP, Filled, split_markers
from mcp_dualtune.prompting.schema_text import one_line, type_text
from mcp_dualtune.types import FINISH, JSON, NONE, Request, ServerSpec, ToolSpec

END = "<|end|>"
CHOICES = {NONE: "<|none|>", FINISH: "<|finish|>"}
STAGES = ("<|route|>", "<|select|>", "<|arguments|>")
MARKS = ("<|item|>", "<|context|>", "<|call|>", "<|result|>", "<|request|>", "<|answer|>")
SPECIAL_TOKENS = ("<|pad|>", END, ASK, SKIP, *CHOICES.values(), *STAGES, *MARKS, COPY)

# Lengths in tokens: enough for one or two sentences. Longer texts cost more in every training step and every cold
# prompt than they gave (docs/LOG.md).
SERVER_TOKENS, SERVER_TOOLS_TOKENS = 32, 40
TOOL_TOKENS, TOOL_PARAMETERS_TOKENS = 32, 16
ARGUMENTS_TOOL_TOKENS, PARAMETER_TOKENS, TYPE_TOKENS = 64, 28, 60
HISTORY_ITEMS, CALL_TOKENS, RESULT_TOKENS = 3, 48, 120
REQUEST_TOKENS = 400
"""A longer request keeps its head and tail."""

Tokens = tuple[int, ...]


class CompactTemplate:
    """Prompts for a tokenizer that has all of SPECIAL_TOKENS."""

    def __init__(self, tokenizer: Any) -> None:
        self.answer = Filled()
        self._tokenizer = tokenizer
        self._ids: dict[str, int] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
        self._parts: dict[str, Tokens] = {}

    @staticmethod
    def fits(tokenizer: Any) -> bool:
        """Whether the tokenizer was made for this template."""
        vocabulary = tokenizer.get_vocab()
        return all(token in vocabulary for token in SPECIAL_TOKENS)

    def route(self, request: Request, servers: Sequence[ServerSpec]) -> tuple[Tokens, Tokens]:
        """Ask for a server."""
        stable = [self._ids["<|route|>"]]
        for server in servers:
            stable.append(self._ids["<|item|>"])
            stable += self._text(server.name)
            if server.description:
                stable += self._cut(": " + one_line(server.description), SERVER_TOKENS)
            if server.tools:
                stable += self._cut(" [" + ", ".join(tool.name for tool in server.tools) + "]", SERVER_TOOLS_TOKENS)
        return tuple(stable), self._request(request)

    def select(self, request: Request, server: ServerSpec) -> tuple[Tokens, Tokens]:
        """Ask for one of the server's tools."""
        stable = [self._ids["<|select|>"], *self._text(server.name)]
        for tool in server.tools:
            stable.append(self._ids["<|item|>"])
            stable += self._text(tool.name)
            if tool.description:
                stable += self._cut(": " + one_line(tool.description), TOOL_TOKENS)
            parameters = tool.input_schema.get("properties") or {}
            if parameters:
                stable += self._cut(" (" + ", ".join(parameters) + ")", TOOL_PARAMETERS_TOKENS)
        return tuple(stable), self._request(request)

    def arguments(
        self, request: Request, tool: ToolSpec, schema: Mapping[str, JSON], context: Mapping[str, str]
    ) -> tuple[Tokens, Tokens]:
        """Ask for the arguments of the tool."""
        stable = [self._ids["<|arguments|>"], *self._text(tool.name)]
        if tool.description:
            stable += self._cut(": " + one_line(tool.description), ARGUMENTS_TOOL_TOKENS)
        required = set(schema.get("required") or ())
        for name, part in schema.get("properties", {}).items():
            stable.append(self._ids["<|item|>"])
            stable += self._text(f"{name}{'*' if name in required else ''}:")
            stable += self._cut(" " + type_text(part), TYPE_TOKENS)
            description = part.get("description") if isinstance(part, Mapping) else None
            if isinstance(description, str) and description:
                stable += self._cut(" - " + one_line(description), PARAMETER_TOKENS)
        facts: list[int] = []
        for name, value in context.items():
            facts += [self._ids["<|context|>"], *self._text(f"{name}: {one_line(value)}")]
        return tuple(stable), (*facts, *self._request(request))

    def option(self, item: ServerSpec | ToolSpec | str) -> Tokens:
        """The answer tokens of one choice, end of answer included."""
        name = item if isinstance(item, str) else item.name
        body = (self._ids[CHOICES[name]],) if name in CHOICES else self._text(name)
        return (*body, self._ids[END])

    def exemplar(self, text: str) -> Tokens:
        """None: names are answered, requests are not compared."""
        return ()

    def text_answer(self, text: str) -> Tokens:
        """The answer tokens of an arguments text, end of answer included.

        Markers outside strings become special tokens, those inside strings stay text.
        """
        tokens: list[int] = []
        for is_marker, piece in split_markers(text):
            tokens += [self._ids[piece]] if is_marker else self._encode(piece)
        return (*tokens, self._ids[END])

    def _request(self, request: Request) -> Tokens:
        tokens: list[int] = []
        for item in request.history[-HISTORY_ITEMS:]:
            arguments = json.dumps(item.call.arguments, ensure_ascii=False, separators=SEPARATORS)
            tokens += [self._ids["<|call|>"], *self._text(f"{item.call.tool} ")]
            tokens += self._cut(arguments, CALL_TOKENS)
            tokens += [self._ids["<|result|>"], *self._ends(" " + item.result, RESULT_TOKENS)]
        # The leading space gives the first word the same token as the same word inside a sentence.
        tokens += [self._ids["<|request|>"], *self._ends(" " + request.text, REQUEST_TOKENS)]
        return (*tokens, self._ids["<|answer|>"])

    def _text(self, text: str) -> Tokens:
        """Tokens of plain text: markers written in it stay text."""
        found = self._parts.get(text)
        if found is None:
            found = tuple(self._encode(text))
            if len(self._parts) >= 20_000:  # bounds memory in a long training run; serving stays far below
                self._parts.clear()
            self._parts[text] = found
        return found

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def _cut(self, text: str, limit: int) -> Tokens:
        return self._text(text)[:limit]

    def _ends(self, text: str, limit: int) -> Tokens:
        tokens = self._text(text)
        return tokens if len(tokens) <= limit else tokens[: limit * 2 // 3] + tokens[-(limit // 3) :]
