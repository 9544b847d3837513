"""What clients read and what servers ask is in the audit log: who, what and how it ended, never what was answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mcp.types as t
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.config import AuditSettings
from tests.passthrough.conftest import ERAS, User, bounded
from tests.passthrough.fixture_server import LOGIN_PAGE
from tests.passthrough.test_users import serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def lines(audit: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_reading_is_recorded_with_its_outcome_and_without_secrets(mode: Any, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with (
        serving("legacy", audit=AuditSettings(audit)) as (server, _),
        Client(server, mode=mode, client_info=t.Implementation(name="reader", version="1")) as client,
    ):
        await client.read_resource("fixture://a")
        with pytest.raises(MCPError):
            await client.read_resource("fixture://nowhere")
        await client.get_prompt("fixture__greet", {"who": "Ana", "password": "hunter2"})
        ref = t.PromptReference(name="fixture__greet")
        await client.complete(ref, {"name": "who", "value": "half a secr"})
        if mode == "legacy":
            await client.subscribe_resource("fixture://a")
        else:
            async with client.listen(resource_subscriptions=["fixture://a"]):
                pass
    found = lines(audit)
    assert [(line["event"], line["method"], line["status"]) for line in found] == [
        ("access", "resources/read", "ok"),
        ("access", "resources/read", "ProtocolError"),
        ("access", "prompts/get", "ok"),
        ("access", "completion/complete", "ok"),
        ("access", "resources/subscribe", "ok"),
    ]
    assert {(line["server"], line["client"]) for line in found} == {("fixture", "reader 1")}
    assert [line.get("uri", line.get("name", line.get("of"))) for line in found] == [
        "fixture://a", "fixture://nowhere", "greet", "greet", "fixture://a",
    ]  # fmt: skip
    assert found[2]["arguments"] == {"who": "Ana", "password": "[secret]"}
    assert found[3]["argument"] == "who" and "half a" not in audit.read_text(encoding="utf-8")


@pytest.mark.parametrize("back_mode", ERAS)
@pytest.mark.parametrize("mode", ERAS)
@bounded
async def test_what_servers_ask_is_recorded_and_not_what_is_answered(mode: Any, back_mode: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with (
        serving(back_mode, audit=AuditSettings(audit)) as (server, _),
        Client(server, mode=mode, **User(name="Eva").callbacks) as client,
    ):
        for tool in ("ask", "visit", "sample", "roots"):
            await client.call_tool(f"fixture__{tool}", {})
    found = lines(audit)
    asked = [line for line in found if line["event"] == "question" and line["status"] != "passed on"]
    assert [(line["server"], line["method"], line["status"]) for line in asked] == [
        ("fixture", "elicitation/create", "accept"),
        ("fixture", "elicitation/create", "accept"),
        ("fixture", "sampling/createMessage", "ok"),
        ("fixture", "roots/list", "ok"),
    ]
    told = [line for line in found if "message" in line]
    assert told[0]["message"] == "Name of you?" and told[0]["asked"] == ["name"]
    assert told[1]["url"] == LOGIN_PAGE.partition("?")[0]
    # A question that a client of the newer era answers itself is told when it is passed on, and when the answer comes.
    straight = mode == back_mode == "auto"
    assert [line["status"] for line in found if line["event"] == "call"] == (
        ["asks", "ok"] * 4 if straight else ["ok"] * 4
    )
    assert len({line["request"] for line in found}) == (8 if straight else 4)
    written = audit.read_text(encoding="utf-8")
    assert "Eva" not in written and "ticket" not in written
