"""A chat model writes requests: asked in the documented form, taken only where they are right, never for ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.config import WriterSettings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering.asking import CUT, FORMLESS, NAMES_TOOL, REPEATED
from mcp_dualtune.training.gathering.gathered import UNSAID, Gathered
from mcp_dualtune.training.gathering.writer import written
from tests.model_servers import listening
from tests.naming_engine import tool

TEXT = {"type": "string"}
NOTES = build_server(
    "notes", "", [tool("add_note", ("title", "box"), title=TEXT, box=TEXT)], fixed_arguments={"box": "inbox"}
).spec


def completion(content: Any, reason: str = "stop") -> Any:
    """A chat completion as OpenAI documents it and Ollama, vLLM and llama.cpp send it."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
        "usage": usage, "system_fingerprint": "fp_ollama",
    }  # fmt: skip


def examples(*pairs: tuple[str, Any]) -> str:
    return json.dumps({"examples": [{"request": text, "arguments": arguments} for text, arguments in pairs]})


class Model:
    """A chat server that gives these answers, the last one again and again, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.headers = list(answers), [], []

    def __call__(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        assert (method, path) == ("POST", "/v1/chat/completions")
        self.asked.append(body)
        self.headers.append(headers)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, tuple) else (200, answer)


def ask(model: Callable[..., Any], say: Callable[[str], None] = lambda line: None, **settings: Any) -> Gathered:
    with listening(model) as url:
        made = WriterSettings(url=url, model="m", **{"requests": 3, "seconds": 10.0, "retries": 0, **settings})
        return written(made, (NOTES,), 1, say)


GOOD = completion(
    examples(
        ("jot down buy milk", {"title": "buy milk"}),
        ("I must remember the dentist", {"title": "the dentist"}),
        ("keep this for later: call Ana", {"title": "call Ana"}),
    )
)


def test_good_examples_are_taken_and_marked() -> None:
    model, lines = Model(GOOD), list[str]()
    found = ask(model, lines.append)
    assert found.counts("notes", "add_note") == {"writer": 3} and found.left_out == {}
    assert found.examples[0].example.arguments == {"title": "buy milk"}
    assert lines == ["notes/add_note: 3 requests written"]


def test_the_question_is_in_the_documented_form_and_shows_nothing_that_is_fixed() -> None:
    model = Model(GOOD)
    ask(model, key_env="KEY", key="s3cret")
    (body,) = model.asked
    assert {"model", "messages", "temperature", "seed", "max_tokens", "stream", "response_format"} == set(body)
    assert body["stream"] is False
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    form = body["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["name"]
    item = form["json_schema"]["schema"]["properties"]["examples"]["items"]["properties"]
    assert list(item["arguments"]["properties"]) == ["title"]
    assert "inbox" not in json.dumps(body)
    assert model.headers[0]["authorization"] == "Bearer s3cret"


def test_the_same_seed_asks_the_same() -> None:
    first, second = Model(GOOD), Model(GOOD)
    ask(first)
    ask(second)
    assert first.asked == second.asked


def test_what_is_not_right_is_left_out_and_counted() -> None:
    rows = examples(
        ("jot down buy milk", {"title": "buy milk"}),
        ("Please jot down buy milk!", {"title": "buy milk"}),
        ("jot it down", {"title": "buy bread"}),
        ("note x", {}),
        ("note y", {"title": 7}),
        ("add_note with call Ana", {"title": "call Ana"}),
        ("note z", {"title": "z", "more": 1}),
    )
    found = ask(Model(completion(rows)), requests=12)
    assert len(found.examples) == 1
    assert found.left_out[UNSAID] >= 1 and found.left_out[NAMES_TOOL] >= 1 and found.left_out[REPEATED] >= 1
    assert sum(found.left_out.values()) >= 6


@pytest.mark.parametrize(
    "content",
    [
        "Here you are: " + examples(("jot down buy milk", {"title": "buy milk"})), "[]", "{}", "null", None, 7, "",
        '{"examples": 3}', '{"examples": [3]}', '{"examples": [{"request": "jot down milk"}]}',
        '{"examples": [], "more": 1}', "[" * 100_000,
    ],
)  # fmt: skip
def test_an_answer_in_another_form_is_not_guessed_at(content: Any) -> None:
    model = Model(completion(content))
    found = ask(model)
    assert found.examples == () and found.left_out.keys() <= {FORMLESS}
    assert len(model.asked) <= 2


def test_json_that_is_fenced_as_code_is_read() -> None:
    fenced = f"```json\n{examples(('jot down buy milk', {'title': 'buy milk'}))}\n```"
    assert len(ask(Model(completion(fenced)), requests=1).examples) == 1


def test_an_answer_that_was_cut_is_left_out() -> None:
    found = ask(Model(completion(examples(("jot down milk", {"title": "milk"})), "length")))
    assert found.examples == () and found.left_out[CUT]


def test_a_server_that_knows_no_form_is_asked_without() -> None:
    refused = (400, {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}})
    model = Model(refused, GOOD)
    assert len(ask(model).examples) == 3
    assert ["response_format" in body for body in model.asked] == [True, False]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {"error": {"message": "model m not found"}}), "training.writer.url and .model"),
        ((401, {"error": {"message": "no key"}}), "training.writer.key_env"),
        ((500, {"error": {"message": "out of memory"}}), "log"),
        ((200, b"<html>"), "training.writer.url"),
        ((200, {"choices": []}), "training.writer.url"),
        ((200, []), "training.writer.url"),
    ],
)
def test_a_writer_that_cannot_be_used_is_an_error_that_names_the_setting(answer: Any, said: str) -> None:
    with pytest.raises(TrainingError) as caught:
        ask(Model(answer))
    assert said in str(caught.value)


def test_a_writer_that_is_not_there_is_an_error() -> None:
    settings = WriterSettings("http://127.0.0.1:9/v1", "m", seconds=5.0, retries=0)
    with pytest.raises(TrainingError, match="cannot be reached"):
        written(settings, (NOTES,), 1)


def test_a_busy_server_is_asked_again() -> None:
    model = Model((503, {"error": "loading model"}), GOOD)
    assert len(ask(model, retries=1).examples) == 3


def test_what_was_written_stays_when_the_server_goes_away() -> None:
    lines: list[str] = []
    few = completion(examples(("jot down buy milk", {"title": "buy milk"})))
    found = ask(Model(few, (500, {"error": "gone"})), lines.append, requests=12)
    assert len(found.examples) == 1
    assert any("stopped" in line for line in lines) and any("stopped" in reason for reason in found.left_out)


def test_time_is_bounded() -> None:
    lines: list[str] = []
    found = ask(Model(completion("[]")), lines.append, minutes=1e-9)
    assert found.examples == () and "minutes" in lines[0]


def test_a_key_that_is_not_set_is_missed_only_here() -> None:
    with pytest.raises(TrainingError, match="KEY is not set"):
        written(replace(WriterSettings("http://127.0.0.1:9/v1", "m"), key_env="KEY"), (NOTES,), 1)


def test_a_place_outside_of_this_machine_is_said() -> None:
    lines: list[str] = []
    settings = WriterSettings("http://192.0.2.1:9/v1", "m", seconds=0.3, retries=0)
    with pytest.raises(TrainingError):
        written(settings, (NOTES,), 1, lines.append)
    assert "192.0.2.1" in lines[0]
