"""What is kept is trained once more on everything that was gathered: when, on what, for how long, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.manifest import load_manifest
from mcp_dualtune.config import ModelSettings, Settings
from mcp_dualtune.pipeline import arguments
from mcp_dualtune.training.gathering import Gathered, Sourced
from mcp_dualtune.training.loop import Plan
from mcp_dualtune.training.own_servers import bench, budget, causal, makers, material, refit, run
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import Task, once_more
from mcp_dualtune.training.own_servers.material import Material, make_material
from mcp_dualtune.training.own_servers.measuring import Tally
from mcp_dualtune.training.own_servers.outcome import Outcome
from mcp_dualtune.training.own_servers.run import Wish, _Run, train_server
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import ServerSpec
from tests.tiny_models import tiny_qwen2
from tests.training.invented_servers import invented
from tests.training.own_servers.telling import Told

STEPS = 12
SELECT, TICKET = "select/helpdesk", "arguments/helpdesk/get_ticket (writing)"


class Trainings:
    """Keeps what every training was given; each takes the seconds that it is told, by a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[Task, Material]] = []
        self.seconds: list[float] = []
        self.now = 0.0
        train = Bench.train

        def spied(bench: Bench, task: Task, material: Material, *more: Any) -> Any:
            self.seen.append((task, material))
            self.now += self.seconds.pop(0) if self.seconds else 0.0
            return train(bench, task, material, *more)

        monkeypatch.setattr(Bench, "train", spied)
        monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: self.now))

    @property
    def names(self) -> list[str]:
        return [task.name for task, _ in self.seen]


def two_tools() -> ServerSpec:
    server = invented("helpdesk")
    return replace(server, tools=tuple(tool for tool in server.tools if tool.name in ("get_ticket", "list_agents")))


def tickets(count: int) -> Gathered:
    rows = [OwnExample(f"what of SUP-{n}?", "helpdesk", "get_ticket", {"ticket_key": f"SUP-{n}"}) for n in range(count)]
    return Gathered(tuple(Sourced(row, "own") for row in rows))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Few requests, short answers, few examples; whatever is trained is better than what was there."""
    for module, name, value in (
        (material, "LEAST", 30),
        (material, "EACH", 10),
        (arguments, "ANSWER_TOKENS", 4),
        (causal, "SELECT_EXAMPLES", 8),
        (causal, "TOOL_EXAMPLES", 4),
    ):
        monkeypatch.setattr(module, name, value)
    measured: list[str] = []

    def judged(run: _Run, task: Task) -> Tally:
        measured.append(task.name)
        tally = Tally()
        for _ in run._gate(task):
            tally.add(measured.count(task.name) % 2 == 0, 0.7)  # every second time is after a training
        return tally

    monkeypatch.setattr(_Run, "_measured", judged)
    return Trainings(monkeypatch)


def train(folder: Path, told: Told | None = None, **wish: Any) -> Outcome:
    """A run on a tiny causal model of the user's own."""
    model = folder / "model"
    if not model.exists():
        tiny_qwen2(model)
    settings = Settings(model=ModelSettings(path=model, precision="float32"))
    tuning = Tuning({"rank": 2, "alpha": 4, "epochs": 1.0, "batch": 2, "accumulate": 1})
    return train_server(two_tools(), settings, Wish(tuning=tuning, **wish), folder / "runs", told or Told())


def test_the_whole_material_has_what_was_held_out_and_says_what_that_is_good_for() -> None:
    made = make_material(two_tools(), 0, tickets(12))
    whole = made.complete()
    said = {row.example.request for row in tickets(12).examples}

    def learnt(material: Material) -> set[str]:
        return said & {form.text for entry in material.training.entries for form in entry.requests}

    assert len(learnt(made)) == 6 and learnt(whole) == said
    assert (whole.gate, whole.report, whole.sources) == (made.gate, made.report, made.sources)
    assert whole.digest != made.digest
    assert [made.holds_out(tool) for tool in (None, "get_ticket", "list_agents")] == [True, True, False]
    assert not whole.holds_out(None)
    few = make_material(two_tools(), 0, tickets(4))
    assert not few.holds_out(None) and not few.holds_out("get_ticket") and few.complete().digest == few.digest


def test_what_is_kept_learns_from_all_and_keeps_the_numbers_of_the_first_training(
    tmp_path: Path, trainings: Trainings
) -> None:
    told = Told()
    outcome = train(tmp_path, told, gathered=tickets(12))
    assert trainings.names == [SELECT, TICKET, SELECT, TICKET]
    plans = [task.job.plan for task, _ in trainings.seen]
    (_, first), *_, (_, whole) = trainings.seen
    assert whole.digest == first.complete().digest != first.digest
    assert plans[:2] == plans[2:]
    assert [made.name for made in outcome.made] == [SELECT, TICKET]
    assert outcome.not_refitted == ()
    assert told.shares == sorted(told.shares) and 0.5 < told.shares[-1] <= 1.0
    assert sum("once more on all requests" in phase for phase in told.phases) == 2
    for made in outcome.made:
        assert made.refitted and made.kept and made.folder is not None
        place = made.folder.relative_to(outcome.folder / "refitted")
        again, before = load_manifest(made.folder), load_manifest(outcome.folder / "adapters" / place)
        assert again.data.digest == whole.digest and before.data.digest == first.digest
        assert (again.scores, again.temperature) == (before.scores, before.temperature)
        assert again.scores.after == made.after == 1.0 and again.temperature != 1.0
        assert again.weights_digest != before.weights_digest
    told = Told()
    assert train(tmp_path, told, gathered=tickets(12)).made == outcome.made
    assert len(trainings.seen) == 4 and not told.shares
    assert [row["refitted"] for row in outcome.to_json()["adapters"]] == [True, True]


def test_nothing_is_trained_twice_that_held_nothing_out(tmp_path: Path, trainings: Trainings) -> None:
    outcome = train(tmp_path, gathered=tickets(4))
    assert trainings.names == [SELECT, TICKET]
    assert len(outcome.kept) == 2 and not any(made.refitted for made in outcome.made)
    assert outcome.not_refitted == ()
    # Requests to one tool teach choosing, and nothing about another tool's arguments.
    trainings.seen.clear()
    rows = [Sourced(OwnExample(f"who is in group {n}?", "helpdesk", "list_agents", {}), "own") for n in range(6)]
    outcome = train(tmp_path, gathered=Gathered(tuple(rows)))
    assert trainings.names == [SELECT, TICKET, SELECT]
    assert [made.refitted for made in outcome.made] == [True, False]
    assert outcome.not_refitted == ()


def test_the_second_trainings_have_half_of_the_time_and_what_it_does_not_reach_stays_as_measured(
    tmp_path: Path, trainings: Trainings
) -> None:
    trainings.seconds = [10, 10, 35]
    wish = {"gathered": tickets(12), "budget": 60.0}
    outcome = train(tmp_path, **wish)
    assert trainings.names == [SELECT, TICKET, SELECT]
    select, ticket, again = (task.job.plan for task, _ in trainings.seen)
    weights = [task.weight for task, _ in trainings.seen[:2]]
    assert select.minutes * 60 == pytest.approx(60 * weights[0] / sum(weights) / 2)
    assert ticket.minutes * 60 == pytest.approx((60 - 2 * 10) / 2)  # twice what the first took is gone
    assert again.minutes == select.minutes
    first, second = outcome.made
    assert (first.refitted, second.refitted) == (True, False)
    assert second.kept and second.folder == outcome.folder / "adapters" / "write" / "get_ticket"
    assert outcome.not_refitted == (TICKET,) and outcome.to_json()["not_refitted"] == [TICKET]
    more = train(tmp_path, **wish)
    assert (more.made, more.not_refitted) == (outcome.made, (TICKET,))
    assert len(trainings.seen) == 3


def test_a_second_training_that_would_be_much_shorter_than_the_first_is_none() -> None:
    plan = Plan(steps=9, rows=1, minutes=2.0)
    assert once_more(plan, 60.0, 300.0) == plan
    assert once_more(plan, 110.0, 90.0) == replace(plan, minutes=1.5)
    assert once_more(plan, 110.0, 60.0) is None
    assert once_more(Plan(steps=9, rows=1), 60.0, float("inf")) == Plan(steps=9, rows=1)


def test_an_adapter_is_replaced_only_by_one_that_is_whole(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(refit, "save_manifest", interrupt)
        train(tmp_path, gathered=tickets(12))
    (folder,) = (path for path in (tmp_path / "runs").iterdir())
    assert (folder / "refitted" / "choose" / "helpdesk").exists()
    known = json.loads((folder / "state.json").read_text())["made"]["choose/helpdesk"]
    assert not known["refitted"] and Path(known["folder"]) == folder / "adapters" / "choose" / "helpdesk"
    assert load_manifest(Path(known["folder"])).scores.after == 1.0
    outcome = train(tmp_path, gathered=tickets(12))
    assert outcome.resumed
    assert trainings.names == [SELECT, TICKET, SELECT, SELECT, TICKET]
    for made in outcome.made:
        assert made.refitted and made.folder is not None and load_manifest(made.folder).scores.after == 1.0


@pytest.mark.timeout(600)  # the machine may be busy with something else
def test_an_interrupted_second_training_goes_on_from_the_start_of_the_first(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Path | None] = []
    origin = makers.origin

    def spied(*given: Any) -> Any:
        found = origin(*given)
        starts.append(found and found.path)
        return found

    monkeypatch.setattr(bench, "origin", spied)
    monkeypatch.setattr(budget, "CHOOSE", replace(budget.CHOOSE, steps=STEPS, rows=1))
    monkeypatch.setattr(run, "GOOD_ENOUGH", -1.0)  # choosing alone

    def interrupt(told: Told) -> None:
        if len(told.shares) == 2 * STEPS - 1:  # the last checkpoint was written at step 10
            raise KeyboardInterrupt

    wish = Wish(gathered=tickets(12))
    with pytest.raises(KeyboardInterrupt):
        train_server(two_tools(), Settings(), wish, tmp_path, Told(interrupt))
    (folder,) = tmp_path.iterdir()
    assert (folder / "checkpoints" / "refit" / "choose" / "helpdesk" / "checkpoint.pt").exists()
    told = Told()
    outcome = train_server(two_tools(), Settings(), wish, tmp_path, told)
    assert len(told.shares) == STEPS - 10
    (made,) = outcome.made
    assert made.refitted and made.folder == folder / "refitted" / "choose" / "helpdesk"
    assert made.folder is not None and load_manifest(made.folder).data.size == STEPS * makers.CHOICES
    # Three makers: first, refit, and refit after the interruption.
    assert len(starts) == 3 and len(set(starts)) == 1
    assert starts[0] is not None and tmp_path not in starts[0].parents
    assert not (folder / "checkpoints").exists()
