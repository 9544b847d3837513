"""The cases of the three servers for `dualtune train` are sound, and none of their servers is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.evaluation.cases import check_against, load_suite
from mcp_dualtune.training.sources import TUNED, written

FOLDER = Path(__file__).parents[2] / "benchmarks" / "three_servers"


@pytest.mark.parametrize("name", ["todo", "benspdf", "audio"])
def test_every_case_can_be_answered_from_the_catalog(name: str) -> None:
    cases = load_suite(FOLDER / f"{name}.jsonl")
    assert len(cases) == 45
    check_against(cases, load_catalog_file(FOLDER / "catalog.json"))


def test_no_server_is_one_that_was_trained_on() -> None:
    servers = {server.name for server in load_catalog_file(FOLDER / "catalog.json").servers}
    trained = {*TUNED, *(row["server"] for name in ("invented", "catalogue") for row in written(name))}
    assert servers.isdisjoint(trained)
