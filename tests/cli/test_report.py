"""`dualtune report` end to end: real servers or a catalog, a real model of random weights, one page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.cli.main import main
from mcp_dualtune.cli.report import LEAST
from tests.end_to_end.conftest import NOTES, START_LIMIT
from tests.tiny_models import tiny_llama

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.timeout(400)


def made(name: str, about: str, **properties: Any) -> Any:
    return {
        "name": name,
        "description": about,
        "inputSchema": {"type": "object", "properties": properties, "required": list(properties)},
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"), context_length=4096)


@pytest.fixture
def write(tmp_path: Path, model: Path) -> Callable[..., Path]:
    def written(**servers: list[str]) -> Path:
        entries = {name: {"command": sys.executable, "args": args} for name, args in servers.items()}
        patient = {name: {"start_timeout": START_LIMIT} for name in servers}
        own = {"model": {"path": str(model)}, "state": str(tmp_path / "state"), "servers": patient}
        file = tmp_path / "mcp.json"
        file.write_text(json.dumps({"mcpServers": entries, "dualtune": own}))
        return file

    return written


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    text = {"type": "string"}
    tools = [
        made("add_note", "Add a note.", title=text, body=text),
        made("delete_note", "Delete a note.", title=text),
        made("list_notes", "List all notes."),
    ]
    tasks = [made("create_task", "Create a task.", title=text), made("list_tasks", "List all tasks.")]
    servers = [
        {"name": "notes", "description": "Keeps notes.", "tools": tools},
        {"name": "tasks", "description": "Keeps tasks.", "tools": tasks},
    ]
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({"servers": servers}))
    return file


def test_a_catalog_becomes_one_page_and_the_same_seed_gives_the_same_scores(
    write: Callable[..., Path], catalog: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "page.html"
    examples = tmp_path / "examples.jsonl"
    examples.write_text(json.dumps({"request": "what do I have to do", "tool": "list_tasks"}))
    words = ["report", "--config", str(write()), "--catalog", str(catalog), "--output", str(out), "--count", "12"]
    words += ["--compare", "3", "--examples", str(examples)]
    found = []
    for _ in range(2):
        assert main([*words, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    first, second = found
    assert first["output"] == str(out)
    assert [(way["way"], way["cases"]) for way in first["ways"]] == [
        ("in_use", sum(first["requests"].values())),
        ("base", 3),
        ("words", sum(first["requests"].values())),
        ("one_prompt", 3),
    ]
    assert first["requests"]["own"] == 1
    same = ("by_kind", "by_server", "by_tool", "confusions", "reliability", "adapters", "tokens", "requests", "stages")
    assert {key: first[key] for key in same} == {key: second[key] for key in same}
    page = out.read_text("utf-8")
    # It may be handed on: what it is about is named, the folders of this machine are not.
    assert page.startswith("<!doctype html>") and "from catalog.json" in page and str(tmp_path) not in page
    assert main([*words, "--compare", "0"]) == 0
    shown = capsys.readouterr().out
    assert str(out) in shown and "in use" in shown and "without adapters" not in shown


def test_the_users_servers_are_started_and_one_that_fails_is_left_out_and_named(
    write: Callable[..., Path], tmp_path: Path, capsys: Captured
) -> None:
    config = write(notes=[str(NOTES), str(tmp_path / "notes")], broken=["-c", "raise SystemExit(3)"])
    out = tmp_path / "page.html"
    words = ["report", "--config", str(config), "--output", str(out), "--count", "6", "--compare", "0", "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert list(report["servers"]) == ["notes"]
    assert "broken" in report["unavailable"] and "broken is left out" in said.err
    assert "broken" in out.read_text("utf-8")


def test_without_any_server_that_works_there_is_no_page(
    write: Callable[..., Path], tmp_path: Path, capsys: Captured
) -> None:
    config = write(broken=["-c", "raise SystemExit(3)"])
    out = tmp_path / "page.html"
    assert main(["report", "--config", str(config), "--output", str(out), "--json"]) == 5
    assert "broken" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--output", "no-folder/page.html"], "Cannot write the report"),
        (["--catalog", "no.json"], "Cannot read the catalog"),
        (["--count", "0"], "not a whole number above 0"),
        (["--minutes", "-1"], "not a number of minutes"),
        (["--minutes", "nan"], "not a number of minutes"),
        ([], "No server to choose from"),
    ],
)
def test_wrong_usage_is_said_before_the_model_is_loaded(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"dualtune": {"model": {"path": str(tmp_path / "none")}}}))
    assert main(["report", "--config", str(config), *words, "--json"]) == 2
    assert problem in json.loads(capsys.readouterr().out)["error"]["message"]


def test_examples_that_do_not_fit_are_refused(
    write: Callable[..., Path], catalog: Path, tmp_path: Path, capsys: Captured
) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text(json.dumps({"request": "x", "tool": "list_task"}))
    words = ["report", "--config", str(write()), "--catalog", str(catalog), "--examples", str(examples), "--json"]
    assert main([*words, "--output", str(tmp_path / "page.html")]) == 1
    assert "list_task" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_when_the_time_is_up_the_page_says_what_was_left_out(
    write: Callable[..., Path], catalog: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "page.html"
    words = ["report", "--config", str(write()), "--catalog", str(catalog), "--output", str(out)]
    assert main([*words, "--minutes", "0.0001", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [way["cases"] for way in report["ways"][:2]] == [LEAST, 1]
    assert "time was up" in report["ways"][0]["note"] and "time was up" in out.read_text("utf-8")
