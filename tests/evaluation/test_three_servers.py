"""The cases of the three servers for `dualtune train` are sound, and none of their servers is trained on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.evaluation.cases import check_against, load_suite
from mcp_dualtune.training.sources import TUNED, written
from mcp_dualtune.training.synthesis.own_examples import read_examples

FOLDER = Path(__file__).parents[2] / "benchmarks" / "three_servers"


@pytest.mark.parametrize("name", ["todo", "benspdf", "audio"])
def test_every_case_can_be_answered_from_the_catalog(name: str) -> None:
    cases = load_suite(FOLDER / f"{name}.jsonl")
    assert len(cases) == 45
    check_against(cases, load_catalog_file(FOLDER / "catalog.json"))


@pytest.mark.parametrize(("name", "server"), [("todo", "todo-txt"), ("benspdf", "benspdf"), ("audio", "audio")])
def test_requests_to_train_on_are_none_of_the_cases(name: str, server: str) -> None:
    catalog = load_catalog_file(FOLDER / "catalog.json")
    own = read_examples(FOLDER / f"own_{name}.jsonl", [catalog.server(server)])
    cases = [words(case.query) for case in load_suite(FOLDER / f"{name}.jsonl")]
    assert len(own) > 70
    for example in own:
        asked = words(example.request)
        assert max(len(asked & case) / len(asked | case) for case in cases) < 0.6, example.request


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def test_no_server_is_one_that_was_trained_on() -> None:
    servers = {server.name for server in load_catalog_file(FOLDER / "catalog.json").servers}
    trained = {*TUNED, *(row["server"] for name in ("invented", "catalogue") for row in written(name))}
    assert servers.isdisjoint(trained)
