"""A trace file is read back as it was written, whatever else stands in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_dualtune.security.redact import Redactor
from mcp_dualtune.tracing import past
from mcp_dualtune.tracing.past import read_past
from mcp_dualtune.tracing.recorder import Recorder
from mcp_dualtune.tracing.sinks import JsonLinesSink
from mcp_dualtune.types import Decision, Provenance, Request, Step, ToolCall, ToolResult, Trajectory

CALL = ToolCall("notes", "add", {"text": "milk"})
CHOSEN = Decision(
    "call", "notes", "add", CALL.arguments, (), None, 0.8, (), {"text": Provenance("request", (5, 9))}, 12.0
)
FINISHED = Decision("finish", None, None, {}, (), None, 0.9, (), {}, 3.0)


def record(file: Path, text: str = "note milk", *, failed: bool = False, stopped_by: str | None = None) -> str:
    """One request that made one call, written by the recorder itself; gives its id."""
    recorder = Recorder([JsonLinesSink(file)], Redactor().value)
    trace = recorder.begin(text)
    trace.decision(CHOSEN)
    step = Step(CHOSEN, CALL, ToolResult(({"type": "text", "text": "ok"},), is_error=failed), 1.0)
    trace.step(step)
    trace.decision(FINISHED)
    trace.end(Trajectory(Request(text), (step,), FINISHED, stopped_by, 20.0))
    recorder.close()
    return trace.id


def test_a_request_comes_back_with_decisions_calls_and_end(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    name = record(file)
    record(file, "note bread", failed=True, stopped_by="time")
    first, second = read_past(file)
    assert (first.id, first.text, first.ended) == (name, "note milk", True)
    assert [one.outcome for one in first.decisions] == ["call", "finish"]
    assert first.decisions[0].arguments == CALL.arguments
    assert first.decisions[0].origins == {"request"}
    assert first.calls == [(CALL, False)]
    assert (second.ended, second.calls[0][1]) == (False, True)


def test_lines_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    odd = [
        "", "{", "[]", "7", "\x00\xff", '{"event": "request", "text": "no id"}', '{"request": "a", "event": "step"}',
        '{"request": "b", "event": "request", "text": 7}', '{"request": "c", "event": "decision", "outcome": "call"}',
    ]  # fmt: skip
    file.write_text("\n".join(odd) + "\n", encoding="utf-8")
    record(file)
    half = {"request": "d", "event": "decision", "outcome": "call", "arguments": [], "missing": 3, "provenance": []}
    more = [{"request": "d", "event": "request", "text": "x"}, half]
    with file.open("a", encoding="utf-8") as end:
        end.write("\n".join(map(json.dumps, more)) + "\n" + '{"request": "e", "event": "requ')
    found = {one.id: one for one in read_past(file)}
    assert len(found) == 2
    assert found["d"].decisions[0].arguments == {}


def test_of_a_long_file_the_newest_part_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trace.jsonl"
    names = [record(file, f"note {number}") for number in range(20)]
    monkeypatch.setattr(past, "NEWEST", file.stat().st_size // 4)
    found = [one.id for one in read_past(file)]
    assert 1 <= len(found) < 8 and found == names[-len(found) :]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_past(tmp_path / "none.jsonl")
