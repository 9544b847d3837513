"""Two small vocabularies of the kinds that are served: the embedded model's, and a chat model's with Hermes tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from mcp_dualtune.training.records import Entry, RequestTemplate
from mcp_dualtune.training.sources import Corpus, make_server
from mcp_dualtune.training.tokenizer import train_tokenizer
from tests.tiny_models import CHAT_TOKENS, LINES, tiny_tokenizer

HERMES = (
    "<|im_start|>system\n{{ messages[0].content }}"
    "{% if tools %}\n<tools>{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call>{% endif %}<|im_end|>\n'
    "{% for message in messages[1:] %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def compact_tokenizer(folder: Path) -> Any:
    """The embedded model's kind of vocabulary, made by the trainer that makes the real one."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}, "head": {"type": "integer"}}}
    tools = [{"name": "read_text_file", "description": line, "inputSchema": schema} for line in LINES]
    server = make_server("filesystem", "reads and writes files", tools)
    assert server is not None
    corpus = Corpus(servers={"filesystem": server}, texts=[*LINES, '{"a": " b", "c": ["d", " e"], "f": {"g": 12}}'] * 3)
    corpus.entries["filesystem"] = [Entry("filesystem", "read_text_file", (RequestTemplate("show the file", {}, {}),))]
    train_tokenizer(corpus, folder, 4096)
    return AutoTokenizer.from_pretrained(folder)


def hermes_tokenizer() -> Any:
    """A Qwen2-like vocabulary: ChatML turns, and tool-call tags that are single tokens but not special ones."""
    tokenizer = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer.chat_template = HERMES
    return tokenizer
