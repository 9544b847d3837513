"""The template for chat models: their own chat template, and their own tool format where they have the Hermes one.

Qwen2.5, Qwen3 and relatives list tools in the system message and answer `<tool_call>{"name": ..., "arguments": ...}`.
The answer is opened up to the point where the stage decides, so the model continues in the form it was trained on.
Models without that form get the same lists as sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_dualtune.errors import EngineError
from mcp_dualtune.prompting.answer import SEPARATORS, Plain
from mcp_dualtune.prompting.schema_text import one_line, type_text
from mcp_dualtune.types import FINISH, JSON, NONE, Request, ServerSpec, ToolSpec

ROUTE = (
    "Choose the server that can do what the user asks. Answer with the name of one server, or none if no server fits."
)
SELECT = (
    "Choose the tool for the next step of what the user asks. Choose none if no tool fits, "
    "and finish if the results so far already answer the user."
)
ARGUMENTS = (
    "Fill in the arguments of the tool from the user's words. Copy values exactly. Leave out optional arguments that "
    'the user does not mention. Where a required value is not given, write "<|ask|>".'
)
NONE_TEXT = "No tool fits the request."
FINISH_TEXT = "The results so far already answer the request."
SPLIT = "\u241e"
"""Stands in the rendered template where the request begins; removed before tokenising."""

Tokens = tuple[int, ...]


class ChatTemplate:
    """Prompts through `tokenizer.apply_chat_template`."""

    def __init__(self, tokenizer: Any) -> None:
        template = tokenizer.chat_template
        if not template:
            raise EngineError(
                "This model's tokenizer has no chat template.", hint="Use an instruction-tuned model (…-Instruct)."
            )
        self.answer = Plain()
        self._tokenizer = tokenizer
        self._hermes = "<tool_call>" in str(template) and "tools" in str(template)
        controls = {*tokenizer.all_special_tokens, *(t for t in tokenizer.get_added_vocab() if t[:1] in ("<", "["))}
        self._controls = sorted((token for token in controls if len(token) > 1), key=len, reverse=True)
        self._end: Tokens = (tokenizer.eos_token_id,)

    def route(self, request: Request, servers: Sequence[ServerSpec]) -> tuple[Tokens, Tokens]:
        """Ask for a server. Servers are no tools, so this stage is always written as sentences."""
        lines = [
            f"- {server.name}: {one_line(server.description)} [{', '.join(t.name for t in server.tools)}]"
            for server in servers
        ]
        return self._render("\n".join([ROUTE, *lines, f"- {NONE}: {NONE_TEXT}"]), request, None, 'Server: "')

    def select(self, request: Request, server: ServerSpec) -> tuple[Tokens, Tokens]:
        """Ask for one of the server's tools; `finish` is always listed, so that the stable part stays the same."""
        extra = [(NONE, NONE_TEXT), (FINISH, FINISH_TEXT)]
        if self._hermes:
            functions = [_function(tool.name, tool.description, tool.input_schema) for tool in server.tools]
            functions += [_function(name, text, {"type": "object", "properties": {}}) for name, text in extra]
            return self._render(SELECT, request, functions, '<tool_call>\n{"name": "')
        lines = [
            f"- {tool.name}: {one_line(tool.description)} ({', '.join(tool.input_schema.get('properties') or {})})"
            for tool in server.tools
        ] + [f"- {name}: {text}" for name, text in extra]
        return self._render("\n".join([SELECT, *lines]), request, None, 'Tool: "')

    def arguments(
        self, request: Request, tool: ToolSpec, schema: Mapping[str, JSON], context: Mapping[str, str]
    ) -> tuple[Tokens, Tokens]:
        """Ask for the arguments of the tool."""
        facts = "".join(f"{name}: {value}\n" for name, value in context.items())
        if self._hermes:
            opening = '<tool_call>\n{"name": ' + self._plain(json.dumps(tool.name)) + ', "arguments": '
            return self._render(ARGUMENTS, request, [_function(tool.name, tool.description, schema)], opening, facts)
        required = set(schema.get("required") or ())
        lines = [
            f"- {name}{' (required)' if name in required else ''}: {type_text(part)}" + _description(part)
            for name, part in schema.get("properties", {}).items()
        ]
        system = "\n".join([ARGUMENTS, f"Tool {tool.name}: {one_line(tool.description)}", *lines])
        return self._render(system, request, None, "Arguments: ", facts)

    def option(self, item: ServerSpec | ToolSpec | str) -> Tokens:
        """The answer tokens of one choice, closing quote and end of answer included."""
        name = item if isinstance(item, str) else item.name
        return (*self._encode_plain(name + '"'), *self._end)

    def exemplar(self, text: str) -> Tokens:
        """None: names are answered, requests are not compared."""
        return ()

    def text_answer(self, text: str) -> Tokens:
        """The answer tokens of an arguments text, end of answer included."""
        return (*self._encode_plain(text), *self._end)

    def _render(
        self, system: str, request: Request, functions: list[dict[str, JSON]] | None, opening: str, facts: str = ""
    ) -> tuple[Tokens, Tokens]:
        history = "".join(
            f"Called {item.call.tool} {json.dumps(item.call.arguments, ensure_ascii=False, separators=SEPARATORS)}\n"
            f"Result: {item.result}\n"
            for item in request.history
        )
        user = self._plain(f"{facts}{history}Request: {request.text}")
        messages = [{"role": "system", "content": self._plain(system)}, {"role": "user", "content": SPLIT + user}]
        text = self._tokenizer.apply_chat_template(
            messages,
            tools=functions and self._plain_all(functions),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        stable, found, rest = text.partition(SPLIT)
        if not found:
            raise EngineError(
                "This model's chat template drops the user's message.", hint="Use another model or fix its template."
            )
        return self._encode(stable), self._encode(rest + opening)

    def _plain(self, text: str) -> str:
        """`text` in which no control token can be recognised: what users and servers write never opens a new turn."""
        # First, because what it leaves behind may join into a control token.
        text = text.replace(SPLIT, "")
        for token in self._controls:
            text = text.replace(token, token[0] + "\u200b" + token[1:])
        return text

    def _plain_all(self, value: JSON) -> JSON:
        """JSON in which every string, keys too, is plain."""
        if isinstance(value, str):
            return self._plain(value)
        if isinstance(value, list):
            return [self._plain_all(item) for item in value]
        if isinstance(value, Mapping):
            return {self._plain(key): self._plain_all(item) for key, item in value.items()}
        return value

    def _encode(self, text: str) -> Tokens:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode_plain(self, text: str) -> Tokens:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


def _description(schema: JSON) -> str:
    text = schema.get("description") if isinstance(schema, Mapping) else None
    return f" - {one_line(text)}" if isinstance(text, str) and text else ""


def _function(name: str, description: str, schema: Mapping[str, JSON]) -> dict[str, JSON]:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": dict(schema)},
    }
