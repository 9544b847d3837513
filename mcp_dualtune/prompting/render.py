"""One renderer for serving and training: stage + request + tools -> token ids, and where the answer goes.

Owns what the model sees. It does not run the model and does not choose among answers. The stable part (tools) comes
first and the request last, so that keys and values of the stable part can be reused between requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from mcp_dualtune.prompting.answer import Filled, ParsedArguments, Plain
from mcp_dualtune.prompting.templates.chat import ChatTemplate
from mcp_dualtune.prompting.templates.compact import CompactTemplate
from mcp_dualtune.prompting.templates.pairs import PairTemplate
from mcp_dualtune.types import FINISH, JSON, NONE, Request, ServerSpec, ToolSpec

Tokens = tuple[int, ...]


class Template(Protocol):
    """How one family of models is prompted. Every method returns (stable tokens, tokens of this request)."""

    @property
    def answer(self) -> Filled | Plain:
        """How arguments are written, constrained and read."""
        ...

    def route(self, request: Request, servers: Sequence[ServerSpec]) -> tuple[Tokens, Tokens]:
        """Ask for a server."""
        ...

    def select(self, request: Request, server: ServerSpec) -> tuple[Tokens, Tokens]:
        """Ask for one of the server's tools."""
        ...

    def arguments(
        self, request: Request, tool: ToolSpec, schema: Mapping[str, JSON], context: Mapping[str, str]
    ) -> tuple[Tokens, Tokens]:
        """Ask for the arguments of the tool."""
        ...

    def option(self, item: ServerSpec | ToolSpec | str) -> Tokens:
        """The tokens of one choice: its name as an answer, end of answer included, or for an encoder its text."""
        ...

    def exemplar(self, text: str) -> Tokens:
        """The passage of an earlier request for which a choice was right; empty where requests are not compared."""
        ...

    def text_answer(self, text: str) -> Tokens:
        """The answer tokens of an arguments text, end of answer included."""
        ...


@dataclass(frozen=True)
class ChoicePrompt:
    """A prompt of `route` or `select` with its options."""

    tokens: Tokens
    stable: int
    options: tuple[str, ...]
    option_tokens: tuple[Tokens, ...]
    exemplars: tuple[Tokens, ...] = ()
    """For each option the passages of earlier requests for which it was right; empty where there are none at all."""


@dataclass(frozen=True)
class ArgumentsPrompt:
    """A prompt of `arguments` with the grammar of its answer."""

    tokens: Tokens
    stable: int
    schema: Mapping[str, JSON]
    """The schema the model was shown: the tool's, less the parameters fixed by the config."""
    answer: Filled | Plain
    sources: tuple[str, ...]
    """Texts that values may be copied from, the request first."""

    @property
    def grammar(self) -> str:
        """llguidance Lark text for the answer; training never needs it."""
        return self.answer.grammar(self.schema, self.sources)

    @property
    def json_schema(self) -> JSON:
        """The same as a JSON Schema; None where the answer is more than JSON."""
        return self.answer.json_schema(self.schema)

    def parse(self, text: str) -> ParsedArguments:
        """Read the model's answer.

        Raises:
            GrammarError: the text is not a complete answer.
        """
        return self.answer.parse(text, self.schema)

    def write(self, arguments: Mapping[str, JSON], missing: Sequence[str] = ()) -> str:
        """The answer text that says `arguments`; the inverse of `parse`, used by training."""
        return self.answer.write(self.schema, arguments, missing, self.sources)


class Renderer:
    """Writes the prompts of all three stages for one tokenizer."""

    def __init__(self, template: Template) -> None:
        self.template = template

    @classmethod
    def for_tokenizer(cls, tokenizer: Any) -> Renderer:
        """The template for the tokenizer's family: our own vocabulary, an encoder, or a chat model.

        Raises:
            EngineError: it is none of them.
        """
        if CompactTemplate.fits(tokenizer):
            return cls(CompactTemplate(tokenizer))
        if not tokenizer.chat_template and PairTemplate.fits(tokenizer):
            return cls(PairTemplate(tokenizer))
        return cls(ChatTemplate(tokenizer))

    def route(
        self, request: Request, servers: Sequence[ServerSpec], exemplars: Mapping[str, Sequence[str]] | None = None
    ) -> ChoicePrompt:
        """Ask which server; the options are the servers' names and `none`.

        `exemplars` are earlier requests by the option that was right for them; here and in `select`.
        """
        return self._choice(self.template.route(request, servers), [*servers, NONE], exemplars)

    def select(
        self, request: Request, server: ServerSpec, exemplars: Mapping[str, Sequence[str]] | None = None
    ) -> ChoicePrompt:
        """Ask which tool of `server`; `finish` is offered when there is a history."""
        options: list[ToolSpec | str] = [*server.tools, NONE, *([FINISH] if request.history else [])]
        return self._choice(self.template.select(request, server), options, exemplars)

    def arguments(
        self,
        request: Request,
        tool: ToolSpec,
        fixed: Mapping[str, JSON] | None = None,
        context: Mapping[str, str] | None = None,
    ) -> ArgumentsPrompt:
        """Ask for the arguments of `tool`, without the `fixed` ones; `context` facts may be copied."""
        schema = without_fixed(tool.input_schema, fixed or {})
        facts = dict(context or {})
        stable, rest = self.template.arguments(request, tool, schema, facts)
        sources = (request.text, *facts.values(), *(item.result for item in request.history))
        return ArgumentsPrompt(stable + rest, len(stable), schema, self.template.answer, sources)

    def _choice(
        self,
        parts: tuple[Tokens, Tokens],
        items: Sequence[ServerSpec | ToolSpec | str],
        exemplars: Mapping[str, Sequence[str]] | None,
    ) -> ChoicePrompt:
        stable, rest = parts
        names = tuple(item if isinstance(item, str) else item.name for item in items)
        options = tuple(self.template.option(item) for item in items)
        told: tuple[Tokens, ...] = ()
        if exemplars:
            passages = (map(self.template.exemplar, exemplars.get(name, ())) for name in names)
            told = tuple(tuple(chain.from_iterable(option)) for option in passages)
        return ChoicePrompt(stable + rest, len(stable), names, options, told)


def without_fixed(schema: Mapping[str, JSON], fixed: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """`schema` without the properties named in `fixed`."""
    properties = schema.get("properties") or {}
    return {
        **schema,
        "properties": {name: part for name, part in properties.items() if name not in fixed},
        "required": [name for name in schema.get("required") or () if name not in fixed and name in properties],
    }
