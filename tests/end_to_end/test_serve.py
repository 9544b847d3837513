"""`dualtune serve` as clients meet it: a process, over every transport, in both protocol eras."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.sse import sse_client

from mcp_dualtune.records import decision_schema
from tests.end_to_end.conftest import ROOT
from tests.end_to_end.serving import COMMAND, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(500)]
LIMIT = 240
INSPECTOR = ROOT / ".node" / "node_modules" / ".bin" / "mcp-inspector"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, write_config: Callable[..., Path]) -> Path:
    """Shows the servers' own tools too."""
    return write_config(tmp_path_factory.mktemp("serve"), expose="all")


@pytest.fixture(scope="module", params=["stdio", "http", "sse"])
def reach(request: pytest.FixtureRequest, config: Path) -> Iterator[Callable[[], Any]]:
    """Make what a client connects to: a command for stdio, else the address of one running server."""
    if request.param == "stdio":
        parameters = StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:], "serve", "--config", str(config)], cwd=ROOT
        )
        yield lambda: parameters
        return
    with serving(config, request.param) as address:
        yield lambda: address if request.param == "http" else sse_client(address)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_lists_decides_and_calls(mode: Any, reach: Callable[[], Any]) -> None:
    with anyio.fail_after(LIMIT):
        client: AbstractAsyncContextManager[Client] = Client(reach(), mode=mode)
        async with client as connected:
            # Waits for the servers to the end; a list of tools waits a little only, and is told to have changed later.
            await connected.call_tool("find_tools", {"query": "notes"})
            names = [tool.name for tool in (await connected.list_tools()).tools]
            assert names[:3] == ["do", "plan", "find_tools"] and "notes__list_notes" in names
            listed = await connected.call_tool("notes__list_notes", {})
            assert listed.structured_content == {"result": []}
            decided = await connected.call_tool("plan", {"request": "note milk", "servers": ["notes"]})
            assert decided.is_error is False
            jsonschema.validate(decided.structured_content, decision_schema())


def test_nonsense_on_stdin_does_not_end_the_server_and_the_end_of_stdin_does(config: Path) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    lines = [
        "this is not JSON",
        '{"jsonrpc": "2.0"}',
        "[1, 2]",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/nonsense"}),
        json.dumps({"jsonrpc": "2.0", "id": 3, "method": "ping"}),
    ]
    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", str(config)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    answers: dict[int, Any] = {}
    process.stdin.write("\n".join(lines) + "\n")
    process.stdin.flush()
    while len(answers) < 3:
        message = json.loads(process.stdout.readline())
        if message.get("id") is not None:
            answers[message["id"]] = message
    out, err = process.communicate(timeout=LIMIT)
    assert answers[1]["result"]["serverInfo"]["name"] == "mcp-dualtune"
    assert answers[2]["error"]["code"] == -32601
    assert answers[3]["result"] == {}
    assert process.returncode == 0
    assert out == "" and "Traceback" not in err


@pytest.mark.parametrize(("transport", "named"), [("http", True), ("http", False), ("sse", False)])
def test_only_this_machines_own_names_may_connect_and_only_with_the_token(
    transport: str, named: bool, tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    config = write_config(tmp_path, **({"http": {"token_env": "DOOR_TOKEN"}} if named else {}))
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with serving(config, transport, options=(), DOOR_TOKEN="secret") as address:
        token = "secret" if named else (tmp_path / "state" / "http-token").read_text(encoding="utf-8").strip()
        key = {"Authorization": f"bearer {token}", "Accept": "application/json, text/event-stream"}
        if transport == "sse":
            address = address.replace("/sse", "/messages/?session_id=" + "0" * 32)

        def status(**headers: str) -> int:
            return httpx2.post(address, json=body, headers=headers, timeout=LIMIT).status_code

        assert status() == 401
        assert status(Authorization="Bearer wrong") == 401
        assert status(**key, Host="evil.example") == 421
        assert status(**key, Origin="http://evil.example") == 403
        assert status(**key) not in (401, 403, 421)
        big = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "' + b"x" * 5_000_000 + b'"}}'
        for sent in (big, iter([big])):
            sent_key = {**key, "Content-Type": "application/json"}
            assert httpx2.post(address, content=sent, headers=sent_key, timeout=LIMIT).status_code == 413


def test_a_port_in_use_is_one_clear_message(config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = ["serve", "--config", str(config), "--transport", "http", "--port", port]
        done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2
    message, hint = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in message and "--port" in hint


@pytest.mark.node
def test_the_inspector_lists_and_calls(config: Path, tmp_path: Path) -> None:
    if not shutil.which("node") or not INSPECTOR.exists():
        pytest.skip("needs Node.js and the npm packages that `make install` puts into .node")

    entry = {"command": sys.executable, "args": ["-m", "mcp_dualtune", "serve", "--config", str(config)]}
    client = tmp_path / "client.json"
    client.write_text(json.dumps({"mcpServers": {"dualtune": entry}}), encoding="utf-8")

    def inspect(*words: str) -> Any:
        command = [str(INSPECTOR), "--cli", "--config", str(client), "--server", "dualtune", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    names = [tool["name"] for tool in inspect("--method", "tools/list")["tools"]]
    assert names[:3] == ["do", "plan", "find_tools"]
    call = ("--method", "tools/call", "--tool-name", "find_tools", "--tool-arg", "query=delete a note")
    assert inspect(*call)["structuredContent"]["tools"][0]["name"] == "delete_note"
