"""Cases go through the real pipeline; only the model's answers are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import Config, ServerConfig, ServerOptions, Settings
from mcp_dualtune.errors import CatalogError, ModelLoadError
from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Decider, Prediction, configured, run_cases, write_predictions
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import HistoryItem, ToolCall
from tests.naming_engine import NamingEngine, byte_tokenizer, tool

TEXT = {"type": "string"}
GIT = build_server("git", "Reads repositories.", [tool("log", ("repo_path",), repo_path=TEXT, count=TEXT)]).spec
CATALOG = Catalog((GIT, build_server("time", "Tells the time.", [tool("now")]).spec))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One for all tests: making it imports transformers."""
    return byte_tokenizer()


@pytest.fixture
def engine(tokenizer: Any) -> NamingEngine:
    return NamingEngine(tokenizer)


def decider(engine: NamingEngine) -> Decider:
    return Decider(Pipeline.for_engine(engine, AdapterStore((), engine.digest)))


def case(name: str, **fields: Any) -> Case:
    return Case(name, f"request {name}", "direct", (Answer("none"),), {}, **fields)


def test_a_measured_request_is_not_told_its_own_answer(engine: NamingEngine) -> None:
    measured = decider(engine)
    exemplars = measured.pipeline.choosing.exemplars
    exemplars.tell([("time", "now", "request a"), ("time", "now", "another one")])
    engine.choices = [{"none": 0.9}]
    list(run_cases(measured, [case("a")], CATALOG, Config()))
    assert exemplars.of_tools(CATALOG.server("time")) == {"now": ["another one"]}


def test_a_case_becomes_a_prediction_with_fixed_arguments(engine: NamingEngine) -> None:
    options = ServerOptions(arguments={"repo_path": "/r"}, context={"branch": "main"}, description="Version control.")
    config = Config((ServerConfig("git", "stdio", "x", options=options),), Settings(context={"team": "blue"}))
    engine.choices = [{"git": 0.9}, {"log": 0.8}]
    engine.answers = ['{"count":"3"}']
    (found,) = run_cases(decider(engine), [case("a")], configured(CATALOG, config), config)
    assert (found.outcome, found.server, found.tool) == ("call", "git", "log")
    assert found.arguments == {"repo_path": "/r", "count": "3"}
    assert found.confidence == pytest.approx(0.72)
    assert "Version control." in engine.prompts[0]
    assert "branch: main" in engine.prompts[2]
    assert "team: blue" in engine.prompts[2]


def test_nothing_ambient_is_added(engine: NamingEngine) -> None:
    engine.choices = [{"git": 0.9}, {"log": 0.8}]
    engine.answers = ['{"repo_path":"/r"}']
    (found,) = run_cases(decider(engine), [case("a")], configured(CATALOG, Config()), Config())
    assert found.outcome == "call"
    assert not any("<|context|>" in prompt for prompt in engine.prompts)


def test_a_case_may_offer_fewer_servers_and_has_its_history(engine: NamingEngine) -> None:
    engine.choices = [{"finish": 0.9}]
    done = HistoryItem(ToolCall("time", "now", {}), "12:00 " + "x" * 9000)
    (found,) = run_cases(decider(engine), [case("a", servers=("time",), history=(done,))], CATALOG, Config())
    assert found.outcome == "finish"
    assert "git" not in engine.prompts[0]
    assert "12:00" in engine.prompts[0]
    assert len(engine.prompts[0]) < 4096


def test_what_the_model_cannot_do_is_a_wrong_prediction_and_the_run_goes_on(engine: NamingEngine) -> None:
    engine.choices = [{"git": 0.9}, {"log": 0.9}, {"none": 0.9}]
    engine.answers = ['{"repo_path":"/r"']
    broken, fine = run_cases(decider(engine), [case("a"), case("b")], CATALOG, Config())
    assert (broken.outcome, broken.confidence) == ("error", None)
    assert broken.error is not None
    assert "not complete JSON" in broken.error
    assert fine.outcome == "none"


def test_a_model_that_cannot_be_loaded_ends_the_run(tmp_path: Path) -> None:
    from dataclasses import replace  # noqa: PLC0415

    settings = Settings()
    config = Config(settings=replace(settings, model=replace(settings.model, path=tmp_path / "nothing")))
    with pytest.raises(ModelLoadError):
        Decider.load(config)


def test_allow_and_deny_of_the_config_count() -> None:
    denied = Config((ServerConfig("git", "stdio", "x", options=ServerOptions(deny=("l*",))),))
    with pytest.raises(CatalogError, match="leaves no tool of 'git'"):
        configured(CATALOG, denied)
    assert configured(CATALOG, Config()) == CATALOG


def test_options_for_other_servers_change_nothing() -> None:
    config = Config((ServerConfig("elsewhere", "stdio", "x", options=ServerOptions(arguments={"a": 1})),))
    assert configured(CATALOG, config) == CATALOG


def test_each_prediction_is_a_line_before_the_next_case_runs(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines: list[int] = []
    given = [Prediction("a", "call", "s", "t", {"x": "ü"}, (), 0.5, 1.234), Prediction("b", "error", error="no")]
    taken = write_predictions(iter(given), path, lambda _: lines.append(len(path.read_text("utf-8").splitlines())))
    assert taken == tuple(given)
    assert lines == [1, 2]
    first, second = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert first == {
        "id": "a",
        "outcome": "call",
        "server": "s",
        "tool": "t",
        "arguments": {"x": "ü"},
        "missing": [],
        "confidence": 0.5,
        "ms": 1.23,
    }
    assert second["error"] == "no"
