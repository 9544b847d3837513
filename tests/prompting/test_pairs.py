"""Prompts for encoders: what the request and the options are shown as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mcp_dualtune.errors import EngineError
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.templates.pairs import PairTemplate, spaced
from mcp_dualtune.types import FINISH, NONE, HistoryItem, Request, ServerSpec, ToolCall, ToolSpec
from tests.tiny_models import tiny_pieces

READ = ToolSpec("files", "readTextFile", "Read a file.", {"properties": {"file_path": {}, "head": {}}}, "")
LONG = ToolSpec("files", "write", "and so on " * 400, {"properties": {f"parameter{n}": {} for n in range(90)}}, "")
FILES = ServerSpec("files", "Files on disk", (READ, LONG), "")
DONE = HistoryItem(ToolCall("files", "readTextFile", {"file_path": "a.md"}), "hello " * 900)


@pytest.fixture(scope="module")
def pieces() -> Any:
    return tiny_pieces()


def shown(pieces: Any, tokens: tuple[int, ...]) -> str:
    return str(pieces.decode(tokens)).replace(" ##", "")


def test_an_encoder_gets_pairs(pieces: Any) -> None:
    assert isinstance(Renderer.for_tokenizer(pieces).template, PairTemplate)


def test_parameters_that_are_explained_or_have_options_make_a_second_passage(pieces: Any) -> None:
    schema = {
        "properties": {
            "sortBy": {"enum": ["name", "date", *range(20)]},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "description": "Marks\n of it"},
            "page": True,
        }
    }
    tool = ToolSpec("files", "listAll", "Lists files. Slow on large disks.", schema, "")
    (option, *_) = (
        Renderer.for_tokenizer(pieces).select(Request("open it"), replace(FILES, tools=(tool,))).option_tokens
    )
    brief, detailed = shown(pieces, option).removesuffix(" [SEP]").split(" [SEP] ")
    assert brief == "[CLS] list all : lists files . slow on large disks . ( sort by , tags , page )"
    # Eight options are shown; the vocabulary of this test knows neither 2 nor 5, dash nor semicolon.
    options, tags = "name , date , 0 , 1 , [UNK] , 3 , 4 , [UNK]", "[UNK] tags [UNK] marks of it [ a , b ] [UNK]"
    assert detailed == f"[CLS] list all : lists files . ( sort by [ {options} ] {tags} page )"


def test_an_earlier_request_is_read_as_it_was_said_and_no_marker_in_it_counts(pieces: Any) -> None:
    told = {"write": ["save it", "[SEP] keep it"], "gone": ["drop it"]}
    prompt = Renderer.for_tokenizer(pieces).select(Request("open it"), FILES, told)
    assert prompt.exemplars[0] == prompt.exemplars[2] == ()
    assert shown(pieces, prompt.exemplars[1]).startswith("[CLS] save it [SEP] [CLS] ")
    assert prompt.exemplars[1].count(pieces.sep_token_id) == prompt.exemplars[1].count(pieces.cls_token_id) == 2
    assert Renderer.for_tokenizer(pieces).select(Request("open it"), FILES).exemplars == ()


def test_names_are_shown_as_words(pieces: Any) -> None:
    prompt = Renderer.for_tokenizer(pieces).select(Request("open it"), FILES)
    assert shown(pieces, prompt.tokens) == "[CLS] open it [SEP]"
    assert shown(pieces, prompt.option_tokens[0]) == "[CLS] read text file : read a file . ( file path , head ) [SEP]"
    assert prompt.options == ("readTextFile", "write", NONE)


@pytest.mark.parametrize(
    ("name", "words"),
    [("getUser_id", "get User id"), ("HTTPServer", "HTTP Server"), ("list-3-items", "list 3 items"), ("日本", "日本")],
)
def test_words_of_names(name: str, words: str) -> None:
    assert spaced(name) == words


def test_a_server_is_shown_with_its_tools_each_in_a_passage_of_its_own(pieces: Any) -> None:
    option = Renderer.for_tokenizer(pieces).route(Request("open it"), [FILES]).option_tokens[0]
    passages = shown(pieces, option).split("[CLS]")[1:]
    assert len(passages) == 3
    assert passages[0].startswith(" files : files on disk . read text file")
    assert passages[1].startswith(" read text file : ")


def test_finish_is_offered_once_something_was_done(pieces: Any) -> None:
    prompt = Renderer.for_tokenizer(pieces).select(Request("open it", (DONE,)), FILES)
    assert prompt.options[-1] == FINISH
    assert "done : read text file" in shown(pieces, prompt.tokens)


def test_long_texts_are_cut(pieces: Any) -> None:
    renderer = Renderer.for_tokenizer(pieces)
    prompt = renderer.route(Request("word " * 5000, (DONE,) * 9), [FILES])
    assert len(prompt.tokens) < 512
    assert max(len(passage.split()) for passage in shown(pieces, prompt.option_tokens[0]).split("[CLS]")) < 100


def test_control_tokens_in_texts_stay_text(pieces: Any) -> None:
    prompt = Renderer.for_tokenizer(pieces).route(Request("[CLS] [SEP] [CLS]"), [FILES])
    assert prompt.tokens.count(pieces.cls_token_id) == 1
    assert prompt.tokens.count(pieces.sep_token_id) == 1


def test_an_encoder_fills_in_nothing(pieces: Any) -> None:
    renderer = Renderer.for_tokenizer(pieces)
    with pytest.raises(EngineError, match="cannot write"):
        renderer.arguments(Request("open it"), READ)
    with pytest.raises(EngineError, match="cannot write"):
        renderer.template.text_answer("{}")
