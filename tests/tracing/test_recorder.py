"""Traces are masked lines of JSON, and never break the request they describe."""

from __future__ import annotations

import io
import json
import logging
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from mcp_dualtune.errors import ServerUnavailable
from mcp_dualtune.security.redact import MASK, Redactor
from mcp_dualtune.tracing.caller import Caller, called_by
from mcp_dualtune.tracing.events import AUDIT, TRACE
from mcp_dualtune.tracing.recorder import Recorder
from mcp_dualtune.tracing.sinks import JsonLinesSink, StderrSink
from mcp_dualtune.types import JSON, Decision, StageRecord, Step, ToolCall, ToolResult, Trajectory

pytestmark = pytest.mark.anyio
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
        kinds = TRACE

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
    assert len([r for r in caplog.records if "Writing to" in r.message]) == 1


def test_stderr_lines_are_short_and_single() -> None:
    stream = io.StringIO()
    Recorder([StderrSink(stream)], Redactor().value).begin("a\nb" + "x" * 9000)
    assert stream.getvalue().count("\n") == 1
    assert len(stream.getvalue()) < 2100


CALL = ToolCall("files", "read", {"path": "a.md", "token": "xyz"})


async def test_audit_tells_who_did_what_and_how_it_ended(tmp_path: Path) -> None:
    audit, trace = tmp_path / "audit.jsonl", tmp_path / "trace.jsonl"
    recorder = Recorder([JsonLinesSink(audit, AUDIT), JsonLinesSink(trace)], Redactor().value)

    async def ends(outcome: ToolResult | Exception) -> ToolResult:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with called_by(Caller("stdio", "desktop 1.2 token=abcdefgh")):
        told = recorder.begin("read a.md")
        told.decision(DECISION)
        told.elicitation("files", "read", ["path"], True)
        told.approval(CALL, "it may change things")
        await told.call(CALL, ends(ToolResult(({"type": "text", "text": "whole"},))))
        await told.call(CALL, ends(ToolResult((), is_error=True)))
    # Who made a request is behind everything that follows from it, wherever it is recorded.
    told.refusal(CALL, "the rule says deny")
    with pytest.raises(ServerUnavailable):
        await told.call(CALL, ends(ServerUnavailable("gone")))
    with anyio.move_on_after(0):
        await told.call(CALL, anyio.sleep_forever())  # type: ignore[arg-type]
    recorder.follow().refusal(CALL, "the rule says deny")
    recorder.close()
    lines = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == [
        "decision", "elicitation", "approval", "call", "call", "refusal", "call", "call", "refusal",
    ]  # fmt: skip
    assert [line["status"] for line in lines if line["event"] == "call"] == [
        "ok", "error", "ServerUnavailable", "cancelled",
    ]  # fmt: skip
    assert {(line["door"], line["client"]) for line in lines[:-1]} == {("stdio", f"desktop 1.2 token={MASK}")}
    assert (lines[-1]["door"], lines[-1]["client"]) == ("library", None)
    assert lines[3]["arguments"] == {"path": "a.md", "token": MASK} and lines[3]["ms"] >= 0 and lines[3]["at"]
    assert "whole" not in audit.read_text(encoding="utf-8")
    assert [json.loads(line)["event"] for line in trace.read_text(encoding="utf-8").splitlines()] == [
        "request", "decision",
    ]  # fmt: skip


@pytest.mark.parametrize("keep", [0, 2])
def test_full_file_is_put_aside_and_two_writers_share_one(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "audit.jsonl"
    sinks = [JsonLinesSink(file, AUDIT, max_bytes=200, keep=keep) for _ in range(2)]
    for number in range(40):
        sinks[number % 2].write({"number": number, "more": "x" * 20})
    for sink in sinks:
        sink.close()
    found = sorted(tmp_path.iterdir())
    assert [path.name for path in found] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"][: keep + 1]
    assert all(path.stat().st_size < 300 for path in found)
    kept = [json.loads(line)["number"] for path in reversed(found) for line in path.read_text().splitlines()]
    assert kept == list(range(40 - len(kept), 40))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no owner bits")
def test_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.touch(mode=0o644)
    sink = JsonLinesSink(file)
    sink.write({"a": 1})
    sink.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
