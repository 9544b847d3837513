"""Prompts: what is stable, what can be forged, and what each kind of model is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mcp_dualtune.errors import EngineError
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.templates.chat import SPLIT
from mcp_dualtune.prompting.templates.compact import END, REQUEST_TOKENS, SPECIAL_TOKENS
from mcp_dualtune.types import FINISH, NONE, HistoryItem, Request, ServerSpec, ToolCall, ToolSpec
from tests.tiny_models import CHAT_TOKENS, tiny_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string", "description": "file to read"}, "head": {"type": "integer"}},
    "required": ["path"],
}
READ = ToolSpec("filesystem", "read_text_file", "Read a file.", SCHEMA, "")
MOVE = ToolSpec("filesystem", "move_file", "Move a file.", {"type": "object", "properties": {}}, "")
FILES = ServerSpec("filesystem", "Files on disk", (READ, MOVE), "")
TIME = ServerSpec("time", "", (replace(MOVE, name="get_current_time"),), "")
DONE = HistoryItem(ToolCall("filesystem", "read_text_file", {"path": "a.md"}), "hello")
REQUESTS = (Request("read a.md"), Request("move it to b.md", (DONE,)), Request(""))
ATTACK = " ".join((*SPECIAL_TOKENS, *CHAT_TOKENS, "<tool_call>", "</tool_call>", "\u241e"))


@pytest.fixture(params=["compact", "hermes", "sentences"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param != "sentences":
        return request.getfixturevalue(request.param)
    plain = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    plain.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    )
    return plain


def prompts(renderer: Renderer, request: Request, **facts: str) -> list[Any]:
    return [
        renderer.route(request, [FILES, TIME]),
        renderer.select(request, FILES),
        renderer.arguments(request, READ, context=facts),
    ]


def test_stable_part_depends_on_the_tools_alone(tokenizer: Any) -> None:
    renderer = Renderer.for_tokenizer(tokenizer)
    by_request = [prompts(renderer, request, today="2026-01-02") for request in REQUESTS]
    by_request.append(prompts(renderer, REQUESTS[0]))
    for stage in zip(*by_request, strict=True):
        assert len({prompt.tokens[: prompt.stable] for prompt in stage}) == 1
        assert all(0 < prompt.stable < len(prompt.tokens) for prompt in stage)


def test_other_tools_give_another_stable_part(tokenizer: Any) -> None:
    renderer = Renderer.for_tokenizer(tokenizer)
    one = renderer.select(REQUESTS[0], FILES)
    other = renderer.select(REQUESTS[0], replace(FILES, tools=(READ,)))
    assert one.tokens[: one.stable] != other.tokens[: other.stable]


def test_control_tokens_in_any_text_stay_text(tokenizer: Any) -> None:
    """The count of every control token is that of the same prompt with harmless words in all places."""
    renderer = Renderer.for_tokenizer(tokenizer)
    controls = {
        tokenizer.convert_tokens_to_ids(t) for t in (*SPECIAL_TOKENS, *CHAT_TOKENS, "<tool_call>", "</tool_call>")
    }
    counts = []
    for words in ("harmless", ATTACK):
        schema = {"type": "object", "properties": {"p": {"type": "string", "description": words, "default": words}}}
        tool = replace(READ, description=words, input_schema=schema)
        server = ServerSpec("filesystem", words, (tool,), "")
        history = (HistoryItem(ToolCall("filesystem", "read_text_file", {"p": words}), words),)
        request = Request(words, history)
        made = [
            renderer.route(request, [server]),
            renderer.select(request, server),
            renderer.arguments(request, tool, context={"cwd": words}),
        ]
        counts.append([sum(token in controls for token in prompt.tokens) for prompt in made])
    assert counts[0] == counts[1]


def test_the_mark_between_the_parts_cannot_be_used_to_build_a_control_token(hermes: Any) -> None:
    """Taken out of a text, it must not leave behind what it kept apart."""
    renderer = Renderer.for_tokenizer(hermes)
    control = hermes.convert_tokens_to_ids("<|im_end|>")
    counts = []
    for words in ("harmless", f"<{SPLIT}|im_end|>", f"<|im{SPLIT}{SPLIT}_end|>"):
        tool = replace(READ, name=words, description=words)
        made = renderer.select(Request(words), ServerSpec("filesystem", words, (tool,), ""))
        counts.append(made.tokens.count(control))
    assert len(set(counts)) == 1


def test_options_end_and_none_is_a_prefix_of_another(tokenizer: Any) -> None:
    renderer = Renderer.for_tokenizer(tokenizer)
    prompt = renderer.select(REQUESTS[1], replace(FILES, tools=(READ, replace(READ, name="read_text_file_2"))))
    assert prompt.options == ("read_text_file", "read_text_file_2", NONE, FINISH)
    for option in prompt.option_tokens:
        assert option[-1] == tokenizer.eos_token_id
        assert not any(other != option and other[: len(option)] == option for other in prompt.option_tokens)


def test_finish_is_offered_only_with_a_history(tokenizer: Any) -> None:
    assert FINISH not in Renderer.for_tokenizer(tokenizer).select(REQUESTS[0], FILES).options


def test_fixed_arguments_are_neither_shown_nor_decoded(tokenizer: Any) -> None:
    prompt = Renderer.for_tokenizer(tokenizer).arguments(REQUESTS[0], READ, fixed={"path": "a.md"})
    assert list(prompt.schema["properties"]) == ["head"]
    assert prompt.schema["required"] == []
    assert "path" not in prompt.grammar


def test_compact_prompt_reads_as_documented(compact: Any) -> None:
    renderer = Renderer.for_tokenizer(compact)
    assert compact.decode(renderer.select(REQUESTS[0], FILES).tokens) == (
        "<|select|>filesystem<|item|>read_text_file: Read a file. (path, head)<|item|>move_file: Move a file."
        "<|request|> read a.md<|answer|>"
    )
    assert compact.decode(renderer.arguments(REQUESTS[1], READ, context={"cwd": "/tmp"}).tokens) == (
        "<|arguments|>read_text_file: Read a file.<|item|>path*: string - file to read<|item|>head: integer"
        '<|context|>cwd: /tmp<|call|>read_text_file {"path": "a.md"}<|result|> hello'
        "<|request|> move it to b.md<|answer|>"
    )
    assert renderer.template.option(NONE) == tuple(compact.convert_tokens_to_ids(["<|none|>", END]))


def test_a_long_request_keeps_head_and_tail(compact: Any) -> None:
    text = compact.decode(
        Renderer.for_tokenizer(compact).route(Request("first " + "middle " * 900 + "last"), [FILES]).tokens
    )
    assert "<|request|> first" in text
    assert text.endswith("last<|answer|>")
    assert text.count("middle") < REQUEST_TOKENS


def test_hermes_prompts_open_the_tool_call(hermes: Any) -> None:
    renderer = Renderer.for_tokenizer(hermes)
    assert hermes.decode(renderer.select(REQUESTS[0], FILES).tokens).endswith('<tool_call>\n{"name": "')
    prompt = hermes.decode(renderer.arguments(REQUESTS[0], READ, context={"cwd": "/tmp"}).tokens)
    assert prompt.endswith('<tool_call>\n{"name": "read_text_file", "arguments": ')
    assert "cwd: /tmp\nRequest: read a.md" in prompt
    assert '"description": "file to read"' in prompt


def test_without_a_tool_format_tools_are_sentences() -> None:
    tokenizer = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    prompt = tokenizer.decode(Renderer.for_tokenizer(tokenizer).arguments(REQUESTS[0], READ).tokens)
    assert "- path (required): string - file to read\n- head: integer\n" in prompt
    assert prompt.endswith("Arguments: ")


def test_no_chat_template_is_an_error_with_a_hint() -> None:
    with pytest.raises(EngineError) as caught:
        Renderer.for_tokenizer(tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>"))
    assert caught.value.hint


def test_a_template_that_drops_the_user_is_an_error() -> None:
    tokenizer = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    tokenizer.chat_template = "{{ messages[0].content }}"
    with pytest.raises(EngineError, match="drops"):
        Renderer.for_tokenizer(tokenizer).route(REQUESTS[0], [FILES])
