"""Adapters that come and go while `dualtune serve` runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from mcp_dualtune.engine.load import model_digest
from tests.end_to_end.conftest import ROOT
from tests.end_to_end.serving import COMMAND, serving
from tests.tiny_models import tiny_adapter, tiny_manifest

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(500)]
LIMIT = 240


async def test_a_running_server_uses_an_adapter_from_the_next_request_on(
    tmp_path: Path, write_config: Callable[..., Path], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path)
    monkeypatch.setenv("DUALTUNE_ADAPTERS", str(tmp_path / "user"))
    tiny_adapter(model_folder, tmp_path / "made", name="select")
    tiny_manifest(tmp_path / "made", model_digest(model_folder), "select")

    async def change(*words: str) -> None:
        command = [*COMMAND, "adapters", *words, "--config", str(config)]
        await anyio.run_process(command, cwd=ROOT, stderr=subprocess.STDOUT)

    with serving(config, "http") as address, anyio.fail_after(LIMIT):
        async with Client(address) as client:

            async def speaker() -> str:
                found = await client.call_tool("plan", {"request": "note milk", "servers": ["notes"]})
                assert found.structured_content is not None
                stages = {stage["stage"]: stage["adapter"] for stage in found.structured_content["stages"]}
                return str(stages["select"])

            assert await speaker() == "base"
            await change("install", str(tmp_path / "made"))
            assert await speaker() == "select"
            await change("remove", "select")
            assert await speaker() == "base"
