"""Reading is trained once for all tools of a server, and every tool gets it as its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.adapter_registry.manifest import adapters_in, load_manifest
from mcp_dualtune.config import ModelSettings, Settings
from mcp_dualtune.models import load_pipeline
from mcp_dualtune.training.own_servers.bench import Bench, Tuning
from mcp_dualtune.training.own_servers.budget import reading_task
from mcp_dualtune.training.own_servers.install import install
from mcp_dualtune.training.own_servers.material import make_material
from mcp_dualtune.training.own_servers.outcome import Made, megabytes
from mcp_dualtune.types import ServerSpec
from tests.training.invented_servers import invented


def helpdesk() -> ServerSpec:
    server = invented("helpdesk")
    return replace(server, tools=tuple(server.tools[number] for number in (2, 5, 8)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of it."""
    folder = tmp_path_factory.mktemp("trained")
    task = reading_task(helpdesk(), 0.5)
    task = replace(task, job=replace(task.job, plan=replace(task.job.plan, steps=2, rows=1)))
    material = make_material(helpdesk(), 0)
    Bench(Settings(), folder, Tuning()).train(task, material, 0, folder / "runs", folder / "read", lambda share: None)
    return folder / "read"


def test_every_tool_gets_an_adapter_of_the_same_weights(trained: Path) -> None:
    manifests = [load_manifest(path) for path in adapters_in(trained)]
    fingerprints = {tool.name: tool.schema_fingerprint for tool in helpdesk().tools}
    assert {one.tool: one.schema_fingerprint for one in manifests} == fingerprints
    assert len({one.weights_digest for one in manifests}) == 1
    made_up = [one.data.sources["synthesis"] for one in manifests]
    assert len(set(made_up)) > 1 and sum(made_up) < 2 * make_material(helpdesk(), 0).sources["synthesis"]
    assert megabytes(trained) < 0.4 * len(manifests)


def test_all_are_installed_and_one_that_was_lost_comes_back(trained: Path, tmp_path: Path) -> None:
    made = Made("arguments/helpdesk (reading)", "read", 0.1, 0.2, 9, True, folder=trained)
    assert [done.state for done in install([made], tmp_path)] == ["installed"]
    assert [done.state for done in install([made], tmp_path)] == ["installed before"]
    shutil.rmtree(adapters_in(tmp_path)[0])
    assert [done.state for done in install([made], tmp_path)] == ["installed"]
    assert len(adapters_in(tmp_path)) == len(helpdesk().tools)
    reader = load_pipeline(Settings(model=ModelSettings(user_adapters=tmp_path))).reader
    assert reader is not None
    for tool in helpdesk().tools:
        adapter = reader.adapters.best("arguments", "helpdesk", tool.name, tool.schema_fingerprint)
        assert adapter is not None and tmp_path in adapter.path.parents


@pytest.mark.timeout(120)
def test_a_tool_whose_options_fill_the_page_is_not_learnt_to_read(tmp_path: Path) -> None:
    kinds = [
        f"{first}-{second} ticket"
        for first in ("open", "blocked", "urgent", "late")
        for second in "abcdefghijklmnopqrst"
    ]
    schema = {"type": "object", "properties": {"kind": {"type": "string", "enum": kinds}}, "required": ["kind"]}
    tool = replace(
        helpdesk().tools[0], name="count_kind", description="Counts one kind of tickets.", input_schema=schema
    )
    server = replace(helpdesk(), tools=(tool, helpdesk().tools[1]))
    material = make_material(server, 0)
    assert any(entry.tool == "count_kind" and entry.requests for entry in material.training.entries)
    bench = Bench(Settings(), tmp_path, Tuning())
    assert bench.kinds(material, tool) == {"write": 1.0}
    assert bench.kinds(material, server.tools[1])["read"] == 1.0
