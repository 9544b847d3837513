"""The same run on a causal model of the user's own: a tiny random one, so that it takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.adapter_registry.manifest import load_manifest
from mcp_dualtune.config import ModelSettings, RemoteSettings, Settings
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.pipeline import arguments
from mcp_dualtune.training.own_servers import causal, material
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import Task
from mcp_dualtune.training.own_servers.measuring import Tally
from mcp_dualtune.training.own_servers.run import Wish, _Run, train_server
from mcp_dualtune.types import ServerSpec
from tests.tiny_models import tiny_qwen2
from tests.training.invented_servers import invented


class Quiet:
    """Keeps the phases; may be interrupted at one of them."""

    def __init__(self, stop: str = "") -> None:
        self.phases: list[str] = []
        self.stop = stop

    def phase(self, text: str) -> None:
        self.phases.append(text)
        if self.stop and self.stop in text:
            raise KeyboardInterrupt

    def share(self, done: float, left: float) -> None:
        assert 0 <= done <= 1


def two_tools() -> ServerSpec:
    server = invented("helpdesk")
    return replace(server, tools=tuple(tool for tool in server.tools if tool.name in ("get_ticket", "list_agents")))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests, short answers, few examples."""
    for module, name, value in (
        (material, "LEAST", 30),
        (material, "EACH", 10),
        (arguments, "ANSWER_TOKENS", 4),
        (causal, "SELECT_EXAMPLES", 4),
        (causal, "TOOL_EXAMPLES", 4),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("quick")
def test_an_interrupted_run_goes_on_and_only_what_is_better_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(model=ModelSettings(path=tiny_qwen2(tmp_path / "model"), precision="float32"))
    wish = Wish(tuning=Tuning({"rank": 2, "alpha": 4, "epochs": 1.0, "batch": 2, "accumulate": 1}))
    # A random model's answers are right by chance: what counts as right is said here.
    measured: list[str] = []

    def judged(run: _Run, task: Task) -> Tally:
        measured.append(str(task))
        tally = Tally()
        for _ in run._gate(task):
            tally.add(len(measured) % 2 == 0)  # every second time is after a training
        return tally

    monkeypatch.setattr(_Run, "_measured", judged)
    with pytest.raises(KeyboardInterrupt):
        train_server(two_tools(), settings, wish, tmp_path / "runs", Quiet("arguments/helpdesk/get_ticket"))
    quiet = Quiet()
    outcome = train_server(two_tools(), settings, wish, tmp_path / "runs", quiet)
    assert outcome.resumed
    assert not any(phase.endswith("select/helpdesk") for phase in quiet.phases)
    first, second = outcome.made
    assert (first.name, second.name) == ("select/helpdesk", "arguments/helpdesk/get_ticket (writing)")
    assert first.kept
    assert first.folder is not None
    manifest = load_manifest(first.folder)
    assert (manifest.base_digest, manifest.rank) == (model_digest(tmp_path / "model"), 2)
    assert manifest.stacked_on is None
    assert (manifest.scores.before, manifest.scores.after) == (0.0, 1.0)
    assert second.kept
    again = train_server(two_tools(), settings, wish, tmp_path / "runs", Quiet())
    assert again.made == outcome.made
    assert again.after == outcome.after


def test_a_model_behind_a_server_is_not_trained_from_here(tmp_path: Path) -> None:
    remote = RemoteSettings(url="http://127.0.0.1:1/v1", model="m", stages=("select",))
    with pytest.raises(TrainingError, match="cannot be trained from here") as raised:
        Bench(Settings(model=ModelSettings(remote=(remote,))), tmp_path, Tuning())
    assert "dualtune.model.path" in raised.value.hint
