"""Other ways to decide: by words, without adapters, and only as long as there is time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import ModelSettings, Settings, TrainingSettings
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.ways import Way, as_shipped, by_words, tried, without_adapters
from mcp_dualtune.models import load_pipeline
from tests.naming_engine import tool
from tests.tiny_models import small_adapter, tiny_llama

TEXT = {"type": "string"}
CATALOG = Catalog(
    (
        build_server("git", "Reads repositories.", [tool("show_log", ("repo_path",), repo_path=TEXT)]).spec,
        build_server("time", "Tells the time.", [tool("current_time")]).spec,
    )
)
CASES = tuple(
    Case(str(place), query, "request", (Answer("call", "time", "current_time", {}),), {})
    for place, query in enumerate(("what time is it", "the log please", "xyzzy"))
)
WAY = Way("words", "by words", "")


def test_words_choose_a_tool_or_nothing() -> None:
    found = list(by_words(CASES, CATALOG))
    assert [one.tool for one in found] == ["current_time", "show_log", None]
    assert [one.outcome for one in found] == ["call", "call", "none"]


def test_all_cases_are_decided_while_there_is_time() -> None:
    way = tried(WAY, CASES, lambda some: by_words(some, CATALOG), monotonic() + 60)
    assert way.cases == CASES and not way.note
    assert way.score is not None and way.score.rates.tool.right == 1
    first = way.first(1)
    assert first is not None and first.rates.tool.total == 1


def test_when_the_time_is_up_the_rest_is_left_out_and_said() -> None:
    decided = []

    def run(some: Sequence[Case]) -> Iterator[Prediction]:
        for one in by_words(some, CATALOG):
            decided.append(one)
            yield one

    way = tried(WAY, CASES, run, monotonic() - 1)
    assert len(way.cases) == len(way.predictions) == len(decided) == 1
    assert "1 of 3" in way.note
    assert len(tried(WAY, CASES, run, monotonic() - 1, least=2).cases) == 2
    assert len(tried(WAY, CASES, run, monotonic() - 1, least=9).cases) == 3


def test_a_way_without_cases_has_no_score() -> None:
    assert WAY.score is None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"))


def test_adapters_are_taken_off_without_loading_the_models_again(model: Path, tmp_path: Path) -> None:
    small_adapter(tmp_path / "mine" / "route", model_digest(model), "route")
    settings = Settings(model=ModelSettings(path=model, user_adapters=tmp_path / "mine", precision="float32"))
    pipeline = load_pipeline(settings)
    assert [one.ref.name for one in pipeline.filling.adapters.adapters] == ["route"]
    bare = without_adapters(pipeline, settings)
    assert bare.filling.engine is pipeline.filling.engine
    assert bare.filling.adapters.adapters == bare.routing.adapters.adapters == ()
    shipped = as_shipped(pipeline, settings)
    assert shipped is not None and shipped.filling.adapters.adapters == ()
    assert shipped.filling.engine is pipeline.filling.engine


def test_where_nothing_is_of_the_users_own_nothing_is_left_out(model: Path) -> None:
    settings = Settings(model=ModelSettings(path=model, precision="float32"))
    assert as_shipped(load_pipeline(settings), settings) is None


def test_the_users_own_requests_are_left_out_too(model: Path, tmp_path: Path) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text('{"request": "close it", "tool": "close", "server": "desk"}', encoding="utf-8")
    own, training = ModelSettings(path=model, choosing="encoder", precision="float32"), TrainingSettings(examples)
    settings = Settings(model=own, training=training)
    pipeline = load_pipeline(settings)
    assert pipeline.choosing.exemplars
    shipped = as_shipped(pipeline, settings)
    assert shipped is not None and not shipped.choosing.exemplars
    assert not without_adapters(pipeline, settings).choosing.exemplars


def test_an_empty_store_belongs_to_the_same_base(model: Path) -> None:
    settings = Settings(model=ModelSettings(path=model, precision="float32"))
    pipeline = load_pipeline(settings)
    store = without_adapters(pipeline, settings).choosing.adapters
    assert isinstance(store, AdapterStore)
    assert store.base_digest == pipeline.choosing.engine.digest
