"""Clients that others have written list, call, follow progress and answer a question through the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from fastmcp.server import create_proxy

from tests.conformance.endpoints import gateway_config
from tests.conformance.packages import FOLDER, ROOT, environment, script
from tests.conformance.suites import Era

pytestmark = pytest.mark.timeout(500)
LIMIT = 240
SCRIPTS = Path(__file__).with_name("peers")
PERSON = {"username": "ana", "email": "ana@example.org"}
ANSWERED = f"User response: action=accept, content={json.dumps(PERSON)}"
PROGRESS = [[0, 100], [50, 100], [100, 100]]
TEXT = "This is a simple text response for testing."


def run_node(node: str, peer: str, target: dict[str, Any]) -> dict[str, Any]:
    """What a script of ours saw; it is read from standard input so that imports are looked up in `.node`."""
    with (SCRIPTS / f"{peer}.mjs").open("rb") as source:
        done = subprocess.run(
            [node, "--input-type=module", "-", json.dumps(target)],
            cwd=FOLDER,
            stdin=source,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def check(seen: dict[str, Any]) -> None:
    """The whole of what a client is meant to see."""
    assert seen["tools"][:3] == ["do", "plan", "find_tools"] and "test_simple_text" in seen["tools"]
    assert seen["text"] == TEXT
    assert seen["progress"] == PROGRESS
    assert seen["asked"] == ["Who are you?"]
    assert seen["answered"] == ANSWERED


@pytest.mark.node
@pytest.mark.parametrize("behind", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("peer", "mode", "version"),
    [("typescript_v1", None, None), ("typescript_v2", "legacy", "2025-11-25"), ("typescript_v2", "auto", "2026-07-28")],
    ids=["v1", "v2-legacy", "v2-modern"],
)
def test_the_typescript_sdks_work_over_http(
    peer: str, mode: str | None, version: str | None, behind: Era, node: str, serving: Callable[[Era], str]
) -> None:
    seen = run_node(node, peer, {"url": serving(behind), "mode": mode})
    assert seen.get("version") == version
    check(seen)


@pytest.mark.node
def test_the_typescript_sdk_works_over_stdio(node: str, tmp_path: Path) -> None:
    config = gateway_config(tmp_path, "legacy")
    command = {"command": sys.executable, "args": ["-m", "mcp_dualtune", "serve", "--config", str(config)]}
    check(run_node(node, "typescript_v1", {**command, "cwd": str(ROOT)}))


@pytest.mark.anyio
@pytest.mark.parametrize("behind", ["legacy", "auto"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("proxied", [False, True], ids=["client", "client-and-proxy"])
async def test_fastmcp_works_as_client_and_as_proxy(
    proxied: bool, mode: Any, behind: Era, serving: Callable[[Era], str]
) -> None:
    address = serving(behind)
    progress: list[list[float | None]] = []
    asked: list[str] = []

    async def answer(message: str, response_type: Any, params: Any, context: Any) -> dict[str, str]:
        asked.append(message)
        return PERSON

    async def follow(done: float, total: float | None, message: str | None) -> None:
        progress.append([done, total])

    target: Any = create_proxy(address) if proxied else address
    with anyio.fail_after(LIMIT):
        async with Client(target, mode=mode, elicitation_handler=answer) as client:
            tools = [tool.name for tool in await client.list_tools()]
            text = (await client.call_tool("test_simple_text")).content[0].text
            await client.call_tool("test_tool_with_progress", progress_handler=follow)
            answered = (await client.call_tool("test_elicitation", {"message": "Who are you?"})).content[0].text
    check({"tools": tools, "text": text, "progress": progress, "asked": asked, "answered": answered})


@pytest.mark.node
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_and_calls(era: str, node: str, serving: Callable[[Era], str], tmp_path: Path) -> None:
    launcher = script("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")

    def inspect(*method: str) -> Any:
        done = subprocess.run(
            [node, launcher, "--cli", serving("legacy"), "--protocol-era", era, "--format", "json", *method],
            # It writes into its user's home.
            env={**environment(), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["result"]

    assert "test_simple_text" in [tool["name"] for tool in inspect("--method", "tools/list")["tools"]]
    called = inspect("--method", "tools/call", "--tool-name", "test_simple_text")
    assert called["content"] == [{"type": "text", "text": TEXT}]
