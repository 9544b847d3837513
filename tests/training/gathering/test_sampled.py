"""What a client's model wrote waits in a file: bounded in number and time, checked when it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.errors import ProtocolError, TrainingError
from mcp_dualtune.training.gathering.asking import Question
from mcp_dualtune.training.gathering.sampled import EACH, GONE, QUESTIONS, TRIES, sample, sampled
from tests.naming_engine import tool
from tests.training.gathering.test_writer import NOTES, examples

pytestmark = pytest.mark.anyio
LIMIT = 60
MANY = build_server("many", "", [tool(f"tool_{n}", ("title",), title={"type": "string"}) for n in range(20)]).spec


class Model:
    """Writes new requests for ever, in the form asked for."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> tuple[Any, bool]:
        self.asked.append(question)
        said = [f"{word} {len(self.asked)}" for word in ("milk", "bread", "tea", "salt", "oil", "rice", "leek")]
        return examples(*((f"put {one} down", {"title": one}) for one in said)), False


async def test_a_round_is_bounded_and_asks_first_where_there_is_least(tmp_path: Path) -> None:
    model, path = Model(), tmp_path / "state" / "sampled.jsonl"
    with anyio.fail_after(LIMIT):
        first = await sample(MANY, path, model)
        assert len(model.asked) == QUESTIONS and set(first.written.values()) == {6}
        second = await sample(MANY, path, model)
    assert len(model.asked) == 2 * QUESTIONS and not set(first.written) & set(second.written)
    assert set(first.lacking) == {one.name for one in MANY.tools}
    assert sampled(path, [MANY]).counts() == {"sampling": 12 * QUESTIONS}
    assert path.stat().st_mode & 0o077 == 0


async def test_a_tool_that_has_enough_is_asked_about_no_more(tmp_path: Path) -> None:
    model, path = Model(), tmp_path / "sampled.jsonl"
    with anyio.fail_after(LIMIT):
        assert (await sample(NOTES, path, model)).lacking == ()
        assert (await sample(NOTES, path, model)).written == {}
    assert len(model.asked) == EACH // 6


async def test_a_model_that_writes_nothing_usable_is_soon_left_alone(tmp_path: Path) -> None:
    asked = []

    async def useless(question: Question) -> tuple[Any, bool]:
        asked.append(question)
        return "I cannot help with that.", len(asked) == 1

    with anyio.fail_after(LIMIT):
        found = await sample(NOTES, tmp_path / "sampled.jsonl", useless)
    assert len(asked) == TRIES and found.written == {} and sum(found.left_out.values()) == TRIES
    assert not (tmp_path / "sampled.jsonl").exists()


async def test_time_is_bounded_and_what_was_written_stays(tmp_path: Path) -> None:
    model, path = Model(), tmp_path / "sampled.jsonl"

    async def slow(question: Question) -> tuple[Any, bool]:
        if model.asked:
            await anyio.sleep_forever()
        return await model(question)

    with anyio.fail_after(LIMIT):
        found = await sample(MANY, path, slow, seconds=1.0)
    assert "1 seconds" in found.stopped and sum(found.written.values()) == 6
    assert sampled(path, [MANY]).counts() == {"sampling": 6}


async def test_a_refusal_of_the_first_question_is_an_error_and_a_later_one_ends_the_round(tmp_path: Path) -> None:
    model = Model()

    async def refuses(question: Question) -> tuple[Any, bool]:
        if model.asked:
            raise ProtocolError("User rejected", code=-1)
        return await model(question)

    with anyio.fail_after(LIMIT):
        assert (await sample(MANY, tmp_path / "sampled.jsonl", refuses)).stopped
        with pytest.raises(ProtocolError):
            await sample(MANY, tmp_path / "sampled.jsonl", refuses)


def test_lines_that_fit_no_more_are_counted_and_those_of_other_servers_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "sampled.jsonl"
    good = {"request": "jot down milk", "server": "notes", "tool": "add_note", "arguments": {"title": "milk"}}
    rows = [good, {**good, "tool": "gone"}, {**good, "arguments": {"title": "unsaid"}}, {**good, "server": "other"}]
    path.write_text("\n".join(["// mine", "{", *map(json.dumps, rows)]), encoding="utf-8")
    found = sampled(path, [NOTES])
    assert found.counts("notes", "add_note") == {"sampling": 1} and found.left_out == {GONE: 3}


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sampled.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(TrainingError, match="sampled requests"):
        sampled(path, [NOTES])
