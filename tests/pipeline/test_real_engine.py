"""With random weights the answers are nonsense, but never outside the catalog or a tool's schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import HistoryItem, Request, ToolCall
from tests.naming_engine import tool
from tests.tiny_models import tiny_adapter, tiny_llama, tiny_manifest, tiny_qwen2

# No free text: a random model would write it until its tokens run out.
NUMBER = {"type": "integer", "minimum": 1, "maximum": 99}
MODE = {"enum": ["fast", "slow", "in between"]}
FLAGS = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}
CATALOG = Catalog(
    (
        build_server(
            "jobs", "Runs jobs", [tool("start", ("mode",), mode=MODE, count=NUMBER), tool("stop", id=NUMBER)]
        ).spec,
        build_server("lights", "Switches lights", [tool("set", ("flags",), flags=FLAGS), tool("list")]).spec,
    )
)
TEXTS = (
    "start three fast jobs",
    "which lights are on?",
    "stop job 7",
    "set the lights: on, off",
    "bake a cake",
    "ü",
    "go",
)


@pytest.fixture(scope="module", params=[tiny_llama, tiny_qwen2], ids=["compact", "chat"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HFEngine:
    make: Callable[[Path], Path] = request.param
    return HFEngine(load_model(make(tmp_path_factory.mktemp("model")), "float32"))


def test_every_decision_stays_inside_catalog_and_schema(engine: HFEngine) -> None:
    pipeline = Pipeline.for_engine(engine, AdapterStore((), engine.digest))
    done = HistoryItem(ToolCall("lights", "list", {}), "kitchen: on")
    outcomes = set()
    for text in TEXTS:
        for named in (None, ("jobs",), ("lights",)):
            for history in ((), (done,)):
                made = pipeline.decide(Request(text, history, servers=named), CATALOG, Event())
                outcomes.add(made.outcome)
                assert 0.0 <= made.confidence <= 1.0
                assert made.outcome != "finish" or history
                for record in made.stages:
                    assert record.probability + sum(p for _, p in record.alternatives) <= 1.0001
                if made.outcome in ("call", "ask"):
                    assert made.server is not None and made.tool is not None
                    chosen = CATALOG.tool(made.server, made.tool)
                    assert named is None or made.server in named
                    assert bool(made.missing) == (made.outcome == "ask")
                    if made.outcome == "call":
                        assert validate_arguments(chosen.input_schema, made.arguments) == ()
    assert "call" in outcomes


def test_same_request_gives_the_same_decision_cold_and_warm(engine: HFEngine) -> None:
    pipeline = Pipeline.for_engine(engine, AdapterStore((), engine.digest))

    def decide() -> Any:
        made = pipeline.decide(Request("stop job 7", servers=("jobs",)), CATALOG, Event())
        return made.outcome, made.tool, made.arguments, made.missing, pytest.approx(made.confidence, rel=1e-3)

    assert decide() == decide()


def test_adapters_of_the_store_speak_in_their_stages(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "model")
    engine = HFEngine(load_model(folder, "float32"))
    server = CATALOG.server("jobs")
    for name, fields in {
        "route": {"stage": "route"},
        "jobs": {"stage": "select", "server": "jobs", "fingerprint": server.tools_fingerprint, "temperature": 3.0},
        "old": {"stage": "select", "server": "lights", "fingerprint": "0" * 64},
    }.items():
        place = tmp_path / "adapters" / name
        tiny_adapter(folder, place, seed=len(name))
        tiny_manifest(place, engine.digest, **fields)  # type: ignore[arg-type]
    store = AdapterStore((tmp_path / "adapters",), engine.digest)
    pipeline = Pipeline.for_engine(engine, store)
    routed = pipeline.decide(Request("stop job 7"), CATALOG, Event())
    assert routed.stages[0].adapter == "route"
    chosen = pipeline.decide(Request("stop job 7", servers=("jobs",)), CATALOG, Event())
    assert chosen.stages[1].adapter == "select/jobs"
    fallen_back = pipeline.decide(Request("stop job 7", servers=("lights",)), CATALOG, Event())
    assert fallen_back.stages[1].adapter == "base"
    assert len(store.retired) == 1
