"""Traces are masked lines of JSON, and never break the request they describe."""

from __future__ import annotations

import io
import json
import logging
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcp_dualtune.security.redact import MASK, Redactor
from mcp_dualtune.tracing.recorder import Recorder
from mcp_dualtune.tracing.sinks import JsonLinesSink, StderrSink
from mcp_dualtune.types import JSON, Decision, StageRecord, Step, ToolCall, ToolResult, Trajectory

DECISION = Decision(
    "call", "files", "read", {"path": "a.md", "password": "hunter2"}, (), None, 0.9,
    (StageRecord("route", "files", 0.9, (("git", 0.1),), "route", 1.5),
     StageRecord("arguments", '{"password":"hunter2 \\"quoted hunter2\\""}', 0.9, (), "base", 1.5)), {}, 2.0,
)  # fmt: skip


def test_one_request_becomes_masked_lines_under_one_id(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "trace.jsonl"
    recorder = Recorder([JsonLinesSink(file)], Redactor(["my-db-pass"]).value)
    trace = recorder.begin("read a.md\u2028with my-db-pass and Bearer abcdefgh1234", ["files"])
    trace.decision(DECISION)
    step = Step(
        DECISION, ToolCall("files", "read", {"token": "xyz"}), ToolResult(({"type": "text", "text": "whole"},)), 3.0
    )
    trace.step(step)
    trace.end(Trajectory(None, (step,), DECISION, None, 9.0))  # type: ignore[arg-type]
    trace.error(ValueError("password=hunter2"))
    recorder.close()
    text = file.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["request", "decision", "step", "end", "error"]
    assert {line["request"] for line in lines} == {trace.id}
    assert lines[0]["text"] == f"read a.md\u2028with {MASK} and Bearer {MASK}"
    assert lines[1]["stages"][0]["alternatives"] == [["git", 0.1]]
    assert lines[2]["characters"] == 5 and "whole" not in text
    assert not any(secret in text for secret in ("hunter2", "xyz", "my-db-pass", "abcdefgh1234"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owner bits")
def test_trace_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    recorder = Recorder([JsonLinesSink(file)], Redactor().value)
    recorder.begin("x")
    recorder.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_sink_that_fails_is_told_once_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Kept:
        def __init__(self) -> None:
            self.lines: list[Mapping[str, JSON]] = []

        def write(self, line: Mapping[str, JSON]) -> None:
            self.lines.append(line)

        def close(self) -> None:
            pass

    kept = Kept()
    (tmp_path / "folder").mkdir()
    recorder = Recorder([JsonLinesSink(tmp_path / "folder"), kept], Redactor().value)
    with caplog.at_level(logging.WARNING):
        recorder.begin("one")
        recorder.begin("two")
    assert [line["text"] for line in kept.lines] == ["one", "two"]
    assert len([r for r in caplog.records if "Tracing to" in r.message]) == 1


def test_stderr_lines_are_short_and_single() -> None:
    stream = io.StringIO()
    Recorder([StderrSink(stream)], Redactor().value).begin("a\nb" + "x" * 9000)
    assert stream.getvalue().count("\n") == 1
    assert len(stream.getvalue()) < 2100
