"""The demonstration runs as it is, whatever its model chooses."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import anyio
import pytest

from examples.demo.__main__ import main
from examples.demo.requests import CASES, one
from examples.demo.workspace import FILES, build
from mcp_dualtune.config import load_config
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import Step, ToolCall, Trajectory
from tests.decisions import decision, text, trajectory

pytestmark = pytest.mark.timeout(600)
LIMIT = 180


def test_every_request_is_sent_and_a_wrong_choice_does_not_fail_the_demonstration(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mcp_dualtune.models.embedded_model", lambda: model_folder)
    assert main() == 0
    shown = capsys.readouterr().out
    assert all(case.text in shown for case in CASES)
    assert ", 0 broken; median decision" in shown


def test_the_workspace_has_files_and_a_repository_with_changes(tmp_path: Path) -> None:
    workspace = build(tmp_path / "demo")
    assert {str(path.relative_to(workspace.files)) for path in workspace.files.rglob("*.*")} == set(FILES)
    assert (workspace.repository / "contact.txt").exists()
    assert {"git", "time"} <= set(workspace.servers)


def made(*calls: tuple[str, str, dict[str, str]]) -> Trajectory:
    """A run of exactly these calls."""
    steps = [Step(decision(), ToolCall(*call), text("ok"), 1.0) for call in calls]
    run = trajectory()
    return Trajectory(run.request, tuple(steps), run.final, None, 1.0)


def test_a_run_is_right_only_when_it_is_exactly_what_was_asked() -> None:
    case = next(case for case in CASES if case.calls == one("time", "get_current_time", timezone="Asia/Tokyo"))
    tokyo = ("time", "get_current_time", {"timezone": "Asia/Tokyo"})
    assert case.right(made(tokyo))
    assert not case.right(made(tokyo, tokyo))
    assert not case.right(made(("time", "get_current_time", {"timezone": "Asia/Seoul"})))
    assert not case.right(made(("git", "get_current_time", {"timezone": "Asia/Tokyo"})))
    assert not case.right(made())
    nothing = next(case for case in CASES if case.outcome == "none")
    assert nothing.right(trajectory(final=decision("none")))
    assert not nothing.right(trajectory(final=decision("ask")))


@pytest.mark.anyio
async def test_every_call_that_is_expected_succeeds_on_the_real_servers(tmp_path: Path) -> None:
    """What the demonstration calls right must at least be possible."""
    workspace = build(tmp_path / "demo")
    more: dict[str, dict[str, object]] = {"search_nodes": {"query": "Falcon"}}
    failed = []
    async with Gateway(load_config(workspace.config), pipeline=lambda: cast(Pipeline, object())) as gateway:
        with anyio.fail_after(LIMIT):
            await gateway.wait_ready()
            assert {server.name for server in gateway.catalog.servers} == set(workspace.servers)
            for case in CASES:
                for call in case.calls if case.servers <= set(workspace.servers) else ():
                    tool = call.tools[0]
                    fixed = {"repo_path": str(workspace.repository)} if call.server == "git" else {}
                    result = await gateway.call(call.server, tool, {**fixed, **call.arguments, **more.get(tool, {})})
                    failed += [f"{tool}: {result.text}"] if result.is_error else []
    assert failed == []
