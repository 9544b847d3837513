"""`dualtune evaluate` end to end on a real model of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_dualtune.cli.main import main
from tests.tiny_models import tiny_llama

KEYS = {"id", "outcome", "server", "tool", "arguments", "missing", "confidence", "ms"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random model."""
    return tiny_llama(tmp_path_factory.mktemp("model"), context_length=4096)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A suite with two cases, and its catalog."""
    tool = {
        "name": "add_line",
        "description": "Add a line to a note.",
        "inputSchema": {"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]},
    }
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"servers": [{"name": "notes", "description": "Notes.", "tools": [tool]}]}))
    suite = tmp_path / "suite.jsonl"
    call = {"server": "notes", "tool": "add_line", "arguments": {"line": "milk"}}
    rows = [
        {"id": "a", "query": "note down milk", "expect": call},
        {"id": "b", "query": "fly", "expect": {"server": None}},
    ]
    suite.write_text("\n".join(map(json.dumps, rows)))
    return suite, catalog


def test_predictions_and_report_are_written(
    files: tuple[Path, Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, catalog = files
    out = tmp_path / "out.jsonl"
    words = ["evaluate", str(suite), "--catalog", str(catalog), "--predictions", str(out), "--model", str(model)]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    assert all(line.keys() == KEYS for line in lines)
    assert report["cases"] == 2
    for name, total in (("server", 1), ("tool", 1), ("full_call", 1), ("decision", 2)):
        rate = report["accuracy"][name]
        assert rate["total"] == total
        assert rate["interval"][0] <= rate["value"] <= rate["interval"][1]
    assert report["latency_ms"]["p95"] >= report["latency_ms"]["p50"] > 0
    assert report["peak_memory_mb"] > 1
    assert 0 <= report["calibration_error"] <= 1

    assert main([*words, "--limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert "whole decision" in shown
    assert "95 % interval" in shown
    assert len(out.read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["no.jsonl"], "needs a catalog"),
        (["no.jsonl", "--catalog", "seven"], "Cannot read the suite"),
        (["seven", "--catalog", "unseen"], "does not fit the catalog"),
        (["seven", "--catalog", "no.json"], "Cannot read the catalog"),
        (["seven", "--predictions", "no-folder/out.jsonl"], "Cannot write the predictions"),
        (["seven", "--limit", "0"], "not a whole number above 0"),
    ],
)
def test_wrong_usage_is_said_before_the_model_is_loaded(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model folder does not exist either: that it is not complained about shows the order."""
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, "--model", str(tmp_path / "none"), "--json"]) == 2
    assert problem in json.loads(capsys.readouterr().out)["error"]["message"]
