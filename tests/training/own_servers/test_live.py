"""`--execute` on a real server: read-only tools alone are called, and what they answer becomes what was done before."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from mcp_dualtune.config import Config, PolicyRule, ServerConfig, ServerOptions, Settings
from mcp_dualtune.errors import RequestError
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.own_servers import material
from mcp_dualtune.training.own_servers.live import is_harmless, read_servers
from mcp_dualtune.training.own_servers.material import make_material
from mcp_dualtune.types import FINISH

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
NOTES = Path(__file__).resolve().parents[3] / "examples" / "servers" / "notes.py"
READS = {"list_notes", "read_note", "search_notes"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the notes are."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "dentist.txt").write_text("On Monday at nine. #health", encoding="utf-8")
    (notes / "market.txt").write_text("Buy leek. #shop", encoding="utf-8")
    return notes


def config(folder: Path, *policy: PolicyRule) -> Config:
    options = ServerOptions(start_timeout=180)
    server = ServerConfig("notes", "stdio", command=sys.executable, args=(str(NOTES), str(folder)), options=options)
    return Config((server,), Settings(policy=policy))


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


async def test_true_results_of_read_only_tools_become_earlier_steps_in_the_training_material(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = texts(folder)
    (server,), results = await read_servers(config(folder), ["notes"], 0, True)
    assert {tool.name for tool in server.tools if is_harmless(tool)} == READS
    found = results["notes"]
    assert found.keys() == READS
    assert all("dentist" in text and "market" in text for text in found["list_notes"])
    # A title that nobody made up: it stood in the list.
    assert set(found["read_note"]) <= set(before.values()) and found["read_note"]
    assert texts(folder) == before

    monkeypatch.setattr(material, "LEAST", 60)
    monkeypatch.setattr(material, "EACH", 20)
    made = make_material(server, 0, results=found)
    assert made.sources["executed"] == sum(map(len, found.values()))
    done = {
        case.history[0].call.tool: case.history[0].result
        for case in (*made.gate, *made.report)
        if case.tool == FINISH and case.history[0].call.tool in READS
    }
    assert done.keys() == READS and all(text in found[tool] for tool, text in done.items())
    # The same in what is learnt: an earlier call of a read-only tool answers what the server truly answers.
    maker, rng = CaseMaker(made.corpus()), random.Random(0)
    cases = [maker.with_history("notes", maker.request("notes", rng), rng) for _ in range(300)]
    steps = [item for case in cases for item in case.history if item.call.server == "notes"]
    answers = {item.call.tool: item.result for item in steps if item.call.tool in READS}
    assert answers and all(text in found[tool] for tool, text in answers.items())


async def test_without_execute_nothing_is_called_and_the_policy_holds_with_it(folder: Path) -> None:
    _, results = await read_servers(config(folder), ["notes"], 0, False)
    assert results == {}
    _, results = await read_servers(config(folder, PolicyRule("notes/list_*", "deny")), ["notes"], 0, True)
    assert set(results["notes"]) == {"search_notes"}


async def test_an_unknown_server_is_an_error_that_names_a_near_one(folder: Path) -> None:
    with pytest.raises(RequestError, match="no server 'note'") as raised:
        await read_servers(config(folder), ["note"], 0, True)
    assert "notes" in raised.value.hint
