"""All sources together: only those the config allows, each marked, the user believed before any model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.config import Config, Settings, TraceSettings, TrainingSettings, WriterSettings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering import Gathered, Sourced, gather, merged
from mcp_dualtune.training.gathering.corrections import remember
from mcp_dualtune.training.gathering.gathered import OTHERWISE
from mcp_dualtune.training.synthesis import synthesise
from mcp_dualtune.training.synthesis.own_examples import OwnExample, with_examples
from tests.model_servers import listening
from tests.naming_engine import tool
from tests.training.gathering.test_traces import record
from tests.training.gathering.test_writer import Model, completion, examples

TEXT = {"type": "string"}
NOTES = build_server(
    "notes", "Keeps notes.", [tool("add", ("text", "box"), text=TEXT, box=TEXT)], fixed_arguments={"box": "in"}
).spec


def test_every_source_is_marked_and_the_user_is_believed_first(tmp_path: Path) -> None:
    data, own, trace = tmp_path / "data.jsonl", tmp_path / "own.jsonl", tmp_path / "trace.jsonl"
    remember(data, [Sourced(OwnExample("note buy milk", "notes", "none"), "correction")])
    own.write_text(json.dumps({"request": "scribble eggs", "tool": "add", "arguments": {"text": "eggs"}}))
    record(trace, "note buy milk", "buy milk")
    record(trace, "write down call Ana", "call Ana")
    model = Model(completion(examples(("jot down feed the cat", {"text": "feed the cat"}))))
    with listening(model) as url:
        writer = WriterSettings(url, "m", requests=1, seconds=10.0)
        training = TrainingSettings(data, trace=True, writer=writer)
        config = Config(settings=Settings(training=training, trace=TraceSettings(trace)))
        found = gather(config, (NOTES,), own)
    assert found.counts() == {"correction": 1, "own": 1, "trace": 1, "writer": 1}
    assert found.counts("notes", "add") == {"own": 1, "trace": 1, "writer": 1}
    assert found.left_out == {OTHERWISE: 1}
    part = with_examples(synthesise(NOTES, 1, 60), found.of("notes")).training
    (entry,) = part.entries
    texts = {template.text for template in entry.requests}
    assert {"scribble eggs", "write down call Ana", "jot down feed the cat"} <= texts
    # What the config fixes is not missing from a request.
    assert not texts & {template.text for template, _ in entry.missing}
    assert "note buy milk" in part.refused


def test_what_an_earlier_training_was_given_is_known_and_the_file_of_today_is_believed(tmp_path: Path) -> None:
    data, own = tmp_path / "data.jsonl", tmp_path / "own.jsonl"
    known = [OwnExample("scribble eggs", "notes", "none"), OwnExample("jot eggs", "notes", "none")]
    remember(data, [Sourced(example, "own") for example in known])
    own.write_text(json.dumps({"request": "scribble eggs", "tool": "add", "arguments": {"text": "eggs"}}))
    config = Config(settings=Settings(training=TrainingSettings(data)))
    found = gather(config, (NOTES,), own)
    assert [(one.example.tool, one.source) for one in found.examples] == [("add", "own"), ("none", "own")]
    assert found.left_out == {OTHERWISE: 1}
    remember(data, found.examples)
    assert gather(config, (NOTES,), own) == replace(found, left_out={})


def test_nothing_is_read_or_asked_that_the_config_does_not_allow(tmp_path: Path) -> None:
    record(tmp_path / "trace.jsonl", "note buy milk", "buy milk")
    training = TrainingSettings(tmp_path / "none.jsonl")
    config = Config(settings=Settings(training=training, trace=TraceSettings(tmp_path / "trace.jsonl")))
    assert gather(config, (NOTES,)) == Gathered()


def test_a_trace_that_is_wanted_and_not_written_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no trace"):
        gather(Config(settings=Settings(training=TrainingSettings(trace=True))), (NOTES,))


def test_within_one_source_the_later_line_counts() -> None:
    lines = [Sourced(OwnExample("a  B", "notes", "none"), "own"), Sourced(OwnExample("A b", "notes", "add"), "own")]
    found = merged(Gathered(tuple(lines)))
    assert [one.example.tool for one in found.examples] == ["add"]
