"""The trace log teaches only what one call that worked has shown, and no secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.config import Config, ServerConfig
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.security.redact import Redactor
from mcp_dualtune.tracing.recorder import Recorder
from mcp_dualtune.tracing.sinks import JsonLinesSink
from mcp_dualtune.training.gathering.gathered import UNSAID
from mcp_dualtune.training.gathering.traces import SECRET, UNPROVEN, traced
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import Decision, Provenance, ProvenanceSource, Request, Step, ToolCall, ToolResult, Trajectory
from tests.naming_engine import tool

TEXT = {"type": "string"}
NOTES = build_server("notes", "", [tool("add", ("text",), text=TEXT, box=TEXT)], fixed_arguments={"box": "in"}).spec
DONE = Decision("finish", None, None, {}, (), None, 0.9, (), {}, 1.0)


def record(
    file: Path,
    text: str,
    value: str,
    *,
    origin: ProvenanceSource = "request",
    failed: bool = False,
    calls: int = 1,
    stopped_by: str | None = None,
    server: str = "notes",
    outcome: str = "call",
    redactor: Redactor | None = None,
) -> None:
    call = ToolCall(server, "add", {"text": value, "box": "in"})
    origins = {"text": Provenance(origin), "box": Provenance("fixed")}
    chosen = replace(DONE, outcome=outcome, server=server, tool="add", arguments=call.arguments, provenance=origins)
    recorder = Recorder([JsonLinesSink(file)], (redactor or Redactor()).value)
    trace = recorder.begin(text)
    trace.decision(chosen)
    step = Step(chosen, call, ToolResult((), is_error=failed), 1.0)
    for _ in range(calls):
        trace.step(step)
    trace.end(Trajectory(Request(text), (step,) * calls, DONE, stopped_by, 2.0))
    recorder.close()


def test_a_request_that_one_call_answered_is_an_example_without_what_is_fixed(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(file, "please note buy milk", "buy milk")
    found = traced(file, (NOTES,), Config())
    assert [one.example for one in found.examples] == [
        OwnExample("please note buy milk", "notes", "add", {"text": "buy milk"})
    ]
    assert found.counts() == {"trace": 1} and found.left_out == {}


def test_what_proves_nothing_is_left_out_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(file, "note milk", "milk", failed=True)
    record(file, "note milk", "milk", calls=2)
    record(file, "note milk", "milk", calls=0)
    record(file, "note milk", "milk", stopped_by="policy")
    record(file, "note milk", "milk", outcome="ask")
    record(file, "note milk", "bread")
    record(file, "note milk", "milk", origin="model")
    record(file, "note milk", "milk", origin="context")
    record(file, "mail milk", "milk", server="mail")
    found = traced(file, (NOTES,), Config())
    assert found.examples == ()
    assert found.left_out == {UNPROVEN: 5, UNSAID: 3}


def test_secrets_are_not_learnt_also_those_that_were_declared_later(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(file, "note password=hunter2hunter2", "hunter2hunter2")
    record(file, "note the code zebra-4711-blue", "zebra-4711-blue")
    config = Config((ServerConfig("notes", "stdio", "x", env={"API_KEY": "zebra-4711-blue"}),))
    found = traced(file, (NOTES,), config)
    assert found.examples == () and found.left_out == {SECRET: 2}


def test_a_missing_trace_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        traced(tmp_path / "none.jsonl", (NOTES,), Config())
    assert "dualtune.training.trace" in caught.value.hint
