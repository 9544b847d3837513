"""Adapters that are installed, replaced and removed while a pipeline runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.package import staged
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.adapter_registry.user import UserAdapters
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.engine.base import Ranking, RankRequest
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.pipeline.stages import Seat
from mcp_dualtune.types import Request
from tests.naming_engine import tool
from tests.tiny_models import tiny_adapter, tiny_llama, tiny_manifest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120
NUMBER = {"type": "integer", "minimum": 1, "maximum": 9}
TOOLS = [tool(f"tool_{place}", id=NUMBER, count=NUMBER) for place in range(12)]
SERVER = build_server("jobs", "Starts, stops and lists jobs of all kinds on this machine", TOOLS).spec
CATALOG = Catalog((SERVER,))
REQUEST = Request("stop job 7 and tell me what it had done until then", servers=("jobs",))
FRESH = """
import json, sys
from pathlib import Path
from tests.pipeline.test_hot_reload import running, scores
print(json.dumps(scores(running(Path(sys.argv[1]), Path(sys.argv[2])))))
"""


def running(model: Path, user: Path, kind: type[HFEngine] = HFEngine) -> Pipeline:
    engine = kind(load_model(model, "float32", threads=1))
    return Pipeline(Seat.of(engine, AdapterStore((user,), engine.digest, user=user)))


def speaker(pipeline: Pipeline) -> str:
    """Which adapter the select stage of a decision ran under."""
    return pipeline.decide(REQUEST, CATALOG, Event()).stages[1].adapter


def scores(pipeline: Pipeline) -> list[float]:
    """Decide, then what the model says of every tool, under what the decision left in adapters and caches."""
    speaker(pipeline)
    seat = pipeline.filling
    prompt = seat.renderer.select(REQUEST, SERVER)
    asked = RankRequest(prompt.tokens, prompt.option_tokens, seat.adapters.best("select"), prompt.stable)
    return list(seat.engine.rank(asked).log_probabilities)


def in_fresh_process(model: Path, user: Path) -> Any:
    words = [sys.executable, "-W", "error", "-c", FRESH, str(model), str(user)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("model"))


def install(model: Path, user: Path, place: Path, seed: int, **lora: Any) -> None:
    tiny_adapter(model, place, seed=seed, name="select", **lora)
    tiny_manifest(place, load_digest(model), "select")
    with staged(place, user) as found:
        UserAdapters(user).put(found)


def load_digest(model: Path) -> str:
    from mcp_dualtune.engine.load import model_digest  # noqa: PLC0415

    return model_digest(model)


def test_another_adapter_of_the_same_name_speaks_as_in_a_fresh_process(model: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    pipeline = running(model, user)
    engine = pipeline.filling.engine
    assert isinstance(engine, HFEngine)
    base = scores(pipeline)
    assert speaker(pipeline) == "base"
    install(model, user, tmp_path / "one", 1)
    first = scores(pipeline)
    assert speaker(pipeline) == "select"
    kept = len(engine.prefixes)
    install(model, user, tmp_path / "two", 2)
    second = scores(pipeline)
    assert len(engine.prefixes) > kept, "the keys and values of the first adapter were taken for the second's"
    assert min(apart(base, first), apart(first, second), apart(base, second)) > 0.1
    assert second == pytest.approx(in_fresh_process(model, user), abs=1e-4)
    UserAdapters(user).undo("select")
    assert scores(pipeline) == pytest.approx(first, abs=1e-4)
    ref = pipeline.filling.adapters.best("select")
    assert ref is not None
    UserAdapters(user).remove(ref.path)
    assert scores(pipeline) == pytest.approx(base, abs=1e-4)


def apart(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def test_the_same_weights_under_another_scale_are_another_adapter(model: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    pipeline = running(model, user)
    install(model, user, tmp_path / "one", 1)
    first = scores(pipeline)
    install(model, user, tmp_path / "two", 1, lora_alpha=1)
    second = scores(pipeline)
    assert apart(first, second) > 0.1
    assert second == pytest.approx(scores(running(model, user)), abs=1e-4)


class Interrupted(HFEngine):
    """Something happens to the adapters between the look at them and the first forward pass."""

    before: Any = None

    def rank(self, request: RankRequest, cancel: Event | None = None) -> Ranking:
        before, self.before = self.before, None
        if before is not None:
            before()
        return super().rank(request, cancel)


@pytest.mark.parametrize("what", ["replaced", "removed"])
def test_a_decision_survives_an_adapter_that_changes_under_it(model: Path, tmp_path: Path, what: str) -> None:
    user = tmp_path / "user"
    install(model, user, tmp_path / "one", 1)
    pipeline = running(model, user, Interrupted)
    engine = pipeline.filling.engine
    assert isinstance(engine, Interrupted)
    ref = pipeline.filling.adapters.best("select")
    assert ref is not None

    def change() -> None:
        if what == "replaced":
            install(model, user, tmp_path / "two", 2)
        else:
            UserAdapters(user).remove(ref.path)

    engine.before = change
    assert speaker(pipeline) == ("select" if what == "replaced" else "base")
    assert engine.before is None
    assert scores(pipeline) == pytest.approx(scores(running(model, user)), abs=1e-4)


def test_decisions_go_on_while_adapters_are_replaced_all_the_time(model: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    for seed in (1, 2):
        install(model, user, tmp_path / str(seed), seed)
    pipeline = running(model, user)
    stop, swaps = Event(), 0

    def swap() -> None:
        nonlocal swaps
        while not stop.wait(0.02):  # nobody installs adapters without a pause
            UserAdapters(user).undo("select")
            swaps += 1

    worker = Thread(target=swap)
    worker.start()
    try:
        speakers = {speaker(pipeline) for _ in range(40)}
    finally:
        stop.set()
        worker.join(LIMIT)
    assert swaps > 1
    # For the moment between two renames there is no adapter, and the base model speaks.
    assert speakers <= {"select", "base"}
    assert scores(pipeline) == pytest.approx(scores(running(model, user)), abs=1e-4)
