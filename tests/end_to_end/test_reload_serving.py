"""`dualtune serve` takes over a changed config, and its client hears of the new tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import mcp.types as wire_types
import pytest
from mcp import Client

from tests.end_to_end.conftest import NOTES, ROOT
from tests.end_to_end.serving import START_LIMIT, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
UNRULY = ROOT / "examples" / "servers" / "unruly.py"


async def test_a_server_added_to_the_file_reaches_a_connected_client(
    tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    file = write_config(tmp_path, expose="all")
    told = anyio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, wire_types.ToolListChangedNotification):
            told.set()

    with serving(file, "http") as address, anyio.fail_after(START_LIMIT):
        async with Client(address, mode="legacy", message_handler=hear) as client:
            await client.list_tools()
            settings = json.loads(file.read_text(encoding="utf-8"))
            assert settings["mcpServers"]["notes"]["args"][0] == str(NOTES)
            settings["mcpServers"]["more"] = {"command": sys.executable, "args": [str(UNRULY)]}
            file.write_text(json.dumps(settings), encoding="utf-8")
            while True:
                await told.wait()
                told = anyio.Event()
                names = {tool.name for tool in (await client.list_tools()).tools}
                if "more__echo" in names:
                    break
            assert "notes__read_note" in names
            answer = await client.call_tool("more__echo", {"text": "new here"})
            assert answer.content[0].text == "new here"
