"""A server's adapters from beginning to end with the embedded models: measured, kept, resumed, installed, used."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.manifest import load_manifest
from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.cli.main import main
from mcp_dualtune.config import ModelSettings, Settings, TrainingSettings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.training.gathering import Gathered, Sourced
from mcp_dualtune.training.gathering.corrections import remember
from mcp_dualtune.training.own_servers import budget, judging, material, run
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import expected_use, ordered, parse_budget, planned
from mcp_dualtune.training.own_servers.install import install
from mcp_dualtune.training.own_servers.material import Material, make_material
from mcp_dualtune.training.own_servers.measuring import Tally, Whole
from mcp_dualtune.training.own_servers.run import Wish, train_server
from mcp_dualtune.training.own_servers.run_state import RunState
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import ServerSpec
from tests.training.invented_servers import invented
from tests.training.own_servers.telling import Told

ROOT = Path(__file__).resolve().parents[3]


STEPS = 12


def small() -> ServerSpec:
    """Three tools of the help desk."""
    server = invented("helpdesk")
    return replace(server, tools=tuple(server.tools[number] for number in (2, 5, 8)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps, few of each."""
    monkeypatch.setattr(material, "LEAST", 60)
    monkeypatch.setattr(material, "EACH", 20)
    monkeypatch.setattr(budget, "CHOOSE", replace(budget.CHOOSE, steps=STEPS, rows=1))
    plans = {kind: replace(plan, steps=STEPS, rows=1) for kind, plan in budget.PLANS.items()}
    monkeypatch.setattr(budget, "PLANS", plans)
    # Few steps gain little: here any gain counts, so that there is something to install.
    monkeypatch.setattr(judging, "CLEAR", 0.0)
    monkeypatch.setattr(judging, "SURE", 0.0)


@pytest.mark.timeout(600)  # the machine may be busy with something else
@pytest.mark.usefixtures("quick")
def test_an_interrupted_run_goes_on_and_what_is_better_is_installed(tmp_path: Path) -> None:
    def interrupt(told: Told) -> None:
        if len(told.shares) == STEPS + 2:  # the first adapter is done, the second has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_server(small(), Settings(), Wish(), tmp_path / "runs", Told(interrupt))
    told = Told()
    outcome = train_server(small(), Settings(), Wish(), tmp_path / "runs", told)
    assert outcome.resumed
    assert not any(phase.endswith("select/helpdesk") for phase in told.phases)
    assert outcome.made[0].name == "select/helpdesk"
    assert {made.kind for made in outcome.made} >= {"choose", "read"}
    for made in outcome.made:
        assert made.kept == (made.folder is not None) == (not made.reason)
        assert not made.kept or (made.after or 0) > (made.before or 0)
        assert made.gathered == 0  # nothing but made-up requests here
    for made in outcome.kept:
        for manifest in map(load_manifest, made.adapters):
            assert (manifest.server, manifest.scores.after) == ("helpdesk", made.after)
            assert manifest.data.sources["synthesis"] > 0
            assert (manifest.stacked_on is None) == (made.kind == "choose")
        assert made.megabytes < 2.8
    assert outcome.before["decision"]["total"] == outcome.after["decision"]["total"] >= 10
    json.dumps(outcome.to_json())
    # Once more: nothing is left to do, and nothing is done.
    again = Told()
    assert train_server(small(), Settings(), Wish(), tmp_path / "runs", again).made == outcome.made
    assert not again.shares
    place = tmp_path / "own"
    place.mkdir()
    assert {done.state for done in install(outcome.kept, place)} <= {"installed"}
    assert {done.state for done in install(outcome.kept, place)} <= {"installed before"}
    pipeline = load_pipeline(Settings(model=ModelSettings(user_adapters=place)))
    assert pipeline.reader is not None
    stores = (pipeline.choosing.adapters, pipeline.filling.adapters, pipeline.reader.adapters)
    found = {stored.ref.path for store in stores for stored in store.adapters if place in stored.ref.path.parents}
    assert len(found) == sum(len(made.adapters) for made in outcome.kept)
    assert not any(store.retired for store in stores)


def test_training_sees_no_wording_that_is_measured_and_the_parts_differ() -> None:
    made = make_material(small(), 0)
    learnt = {template.text for entry in made.training.entries for template in entry.requests}
    gate, report = ({case.query for case in part} for part in (made.gate, made.report))
    assert not gate & report
    assert not (gate | report) & learnt
    assert make_material(small(), 0).digest == made.digest != make_material(small(), 1).digest
    for part in (made.gate, made.report):
        assert {case.tool for case in part} >= {"none", "finish", *(tool.name for tool in small().tools)}


def test_requests_are_compared_only_with_what_is_not_measured_and_what_the_user_vouches_for() -> None:
    own = [Sourced(OwnExample(f"ticket {n} is done", "helpdesk", "list_tickets", {}), "own") for n in range(15)]
    other = Sourced(OwnExample("anything about printers?", "helpdesk", "update_ticket"), "writer")
    made = make_material(small(), 0, Gathered((*own, other)))
    compared = {request for _, _, request in made.exemplars}
    assert compared == {one.example.request for one in own} - {case.query for case in (*made.gate, *made.report)}
    assert len(compared) == 7


def test_before_is_measured_with_what_was_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "examples.jsonl"
    own = [Sourced(OwnExample(f"ticket {n} is done", "helpdesk", "list_tickets", {}), "own") for n in range(15)]
    remember(file, own[:10])
    seen: dict[str, set[str]] = {}

    def measured(name: str) -> Any:
        def measure(pipeline: Any, server: ServerSpec, *rest: Any) -> Any:
            known = pipeline.choosing.exemplars.of_tools(server)
            seen[name] = set(known.get("list_tickets", ()))
            return Whole(Tally(), Tally(), Tally()) if name == "whole" else Tally()

        return measure

    for name in ("whole", "select", "arguments"):
        monkeypatch.setattr(run, f"measure_{name}", measured(name))
    wish, settings = Wish(gathered=Gathered(tuple(own)), budget=0.1), Settings(training=TrainingSettings(examples=file))
    state = RunState.open(tmp_path, "helpdesk", {}, again=False)
    made = run._Run(small(), settings, wish, state, Told())
    made._before()
    learnt = {request for _, _, request in made.material.exemplars}
    assert seen["select"] == learnt
    assert seen["whole"] == learnt & {one.example.request for one in own[:10]} < learnt
    del made.bench.pipeline  # as after the training of a large model
    assert made.bench.pipeline.choosing.exemplars.of_tools(small()) == {
        "list_tickets": [row[2] for row in made.material.exemplars]
    }


def test_true_results_stand_in_the_place_of_made_up_ones_and_sources_are_counted() -> None:
    gathered = Gathered(
        (
            Sourced(OwnExample("which tickets wait?", "helpdesk", "list_tickets", {}), "correction"),
            Sourced(OwnExample("anything about printers?", "helpdesk", "update_ticket"), "writer"),
            Sourced(OwnExample("what time is it?", "clock", "now", {}), "own"),
        )
    )
    made = make_material(small(), 0, gathered, {"list_tickets": ['[{"key": "SUP-1"}]']})
    entry = next(entry for entry in made.training.entries if entry.tool == "list_tickets")
    assert entry.results == ('[{"key": "SUP-1"}]',)
    made_up = made.sources["synthesis"]
    assert made.sources == {"synthesis": made_up, "executed": 1, "correction": 1, "writer": 1}
    of_tool = made.sources_of("list_tickets")
    assert of_tool == {"synthesis": of_tool["synthesis"], "executed": 1, "correction": 1}
    assert 0 < of_tool["synthesis"] < made_up
    assert made.sources_of(None) == made.sources


def test_gathered_requests_judge_from_five_on_and_are_never_learnt_from_then() -> None:
    def material_of(count: int) -> Material:
        examples = [OwnExample(f"tickets of queue {n}, please", "helpdesk", "list_tickets", {}) for n in range(count)]
        examples[::4] = [replace(one, tool="none", arguments=None) for one in examples[::4]]
        return make_material(small(), 0, Gathered(tuple(Sourced(one, "own") for one in examples)))

    def queue(texts: Iterable[str]) -> set[str]:
        return {text for text in texts if "of queue" in text}

    assert material_of(4).gathered == frozenset()
    for count, judged, reported in ((5, 2, 0), (9, 3, 0), (24, 8, 4)):
        made = material_of(count)
        learnt = queue(template.text for entry in made.training.entries for template in entry.requests)
        learnt |= queue(made.training.refused)
        shown = queue(case.query for case in made.report)
        assert (len(made.gathered), len(shown), len(learnt)) == (judged, reported, count - judged - reported)
        assert not learnt & (made.gathered | shown) and not made.gathered & shown
        # They come first, so that a tight budget leaves none of them out.
        assert {case.query for case in made.gate[:judged]} == made.gathered
        assert {case.tool for case in made.gate[:judged]} == {"list_tickets", "none"}


def test_a_tool_that_nothing_is_learnt_of_gets_no_adapter_for_its_arguments(tmp_path: Path) -> None:
    made = make_material(small(), 0)
    tool = small().tools[0]
    left = tuple(entry for entry in made.training.entries if entry.tool != tool.name)
    bare = replace(made, training=replace(made.training, entries=left))
    assert Bench(Settings(), tmp_path, Tuning()).kinds(bare, tool) == {}


def test_a_run_is_another_one_when_its_sources_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []

    class Begun(Exception):
        """Far enough: what the run is, is decided."""

    def begin(server: object, settings: object, wish: object, state: RunState, tell: object) -> None:
        folders.append(state.folder)
        raise Begun

    monkeypatch.setattr(run, "_Run", begin)
    example = OwnExample("which tickets wait?", "helpdesk", "list_tickets", {})
    elsewhere = Sourced(OwnExample("what time is it?", "clock", "now", {}), "own")
    sets: list[tuple[Sourced, ...]] = [
        (), (elsewhere,), (Sourced(example, "own"),), (Sourced(example, "own"), elsewhere), (Sourced(example, "trace"),)
    ]  # fmt: skip
    for examples in sets:
        with pytest.raises(Begun):
            train_server(small(), Settings(), Wish(gathered=Gathered(examples)), tmp_path, Told())
    none, others, own, own_and_others, traced = folders
    assert none == others  # what other servers are asked for changes nothing
    assert own == own_and_others
    assert len({none, own, traced}) == 3


def test_a_server_like_one_of_ours_is_no_stranger_to_itself() -> None:
    from mcp_dualtune.training.sources import tuned_corpus  # noqa: PLC0415

    files = replace(tuned_corpus().servers["filesystem"], name="disk")
    corpus = make_material(files, 0).corpus()
    assert "filesystem" not in corpus.entries
    assert {"disk", "time"} <= set(corpus.entries)


def test_time_goes_first_to_what_is_asked_for_and_wrong() -> None:
    server = small()
    examples = [OwnExample(str(number), "helpdesk", "update_ticket") for number in range(6)]
    use = expected_use(server, examples)
    assert use["update_ticket"] > use["list_tickets"] > 0
    tasks = ordered([budget.writing_task(server, tool, 0.5, use[tool.name]) for tool in server.tools])
    assert tasks[0].job.tool == "update_ticket"
    first = planned(tasks[0], 90, tasks).minutes * 60
    assert 90 / 3 < first < 90
    assert planned(tasks[0], math.inf, tasks).minutes == math.inf


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("2", 120)])
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "soon", "nan"])
def test_what_is_no_length_of_time_is_an_error(text: str) -> None:
    with pytest.raises(TrainingError, match="no length of time"):
        parse_budget(text)


@pytest.mark.timeout(600)  # the machine may be busy with something else
@pytest.mark.usefixtures("quick")
def test_the_commands_of_the_tutorial_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "TRAINING.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert len(commands) >= 5
    assert len(load_catalog_file(ROOT / "examples" / "training" / "helpdesk.json").tools) == 10
    config = tmp_path / "mcp.json"
    config.write_text('{"mcpServers": {}, "dualtune": {"trace": {"file": "trace.jsonl"}}}')
    names = {"STATE": "state", "ADAPTERS": "adapters", "CONFIG": "mcp.json", "EXAMPLES": "corrections.jsonl"}
    requests = []
    for name, value in names.items():
        monkeypatch.setenv(f"DUALTUNE_{name}", str(tmp_path / value))
    monkeypatch.chdir(ROOT)
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "dualtune"
        # Ten tools take their time even in few steps: that the words are right shows before that.
        if words[1] == "train":
            words[words.index("--budget") + 1] = "15s"
        code = main([*words[1:], "--json"])
        # What `plan` decides is the model's business; the tutorial says what to do where it is wrong.
        assert code == 0 or words[1] == "plan", command
        printed: Any = json.loads(capsys.readouterr().out)
        if words[1] == "train":
            requests.append(printed["servers"][0]["requests"])
            assert printed["left_out"] == {}
        assert words[1] != "adapters" or printed["adapters"]
    kept = [json.loads(line) for line in (tmp_path / "corrections.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row.get("source") for row in kept] == [None, "own", "own", "own"]
    first, last = requests
    assert first.keys() == {"synthesis"}
    assert (last["correction"], last["own"]) == (1, 3)
