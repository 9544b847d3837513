"""A client's own model writes requests: with its user's consent, in both protocol eras, checked, bounded and marked."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp.types as mcp_types
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from mcp_dualtune.cli.write_requests import NAME, WIRE, write_requests
from mcp_dualtune.config import AuditSettings, Config, ServerConfig, TrainingSettings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.questions import GO_AHEAD
from mcp_dualtune.mcp_server.server import build_server
from mcp_dualtune.training.gathering import gather
from mcp_dualtune.training.gathering.asking import FORMLESS
from mcp_dualtune.training.gathering.sampled import EACH, FILE, QUESTIONS
from mcp_dualtune.training.own_servers.material import make_material
from mcp_dualtune.types import ServerSpec
from tests.mcp_server.conftest import NOTES, PATIENT, settings
from tests.naming_engine import alone

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
LIMIT = 120
TITLES = ("milk", "the dentist", "call Ana", "paint the fence", "sell the bike", "feed the cat", "mow the lawn", "rent")


class Model:
    """A client's model: for every tool it writes requests with a title, each a new one; keeps what it was asked."""

    def __init__(self, stop: str | None = None) -> None:
        self.asked: list[mcp_types.CreateMessageRequestParams] = []
        self.stop = stop

    async def __call__(self, context: Any, params: mcp_types.CreateMessageRequestParams) -> Any:
        self.asked.append(params)
        if self.stop is not None and len(self.asked) > 1:
            return mcp_types.ErrorData(code=-1, message=self.stop)
        tool = json.loads(params.messages[0].content.text.partition("\n\n")[0])
        needed = tool["parameters"].get("required", [])
        # Two that are no whole call.
        rows: list[Any] = [{"request": "do it", "arguments": {"unknown": 1}}, {"request": "x"}]
        for title in TITLES:
            said = f"{title} {len(self.asked)}"
            arguments = dict.fromkeys(needed, said)
            rows.append({"request": f"what I want {tool['description'][:12]} is {said}", "arguments": arguments})
        text = f"```json\n{json.dumps({'examples': rows})}\n```"
        content = mcp_types.TextContent(type="text", text=text)
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="m", stop_reason="endTurn")


def forms(answer: bool | None) -> tuple[Callable[..., Any], list[str]]:
    """An elicitation callback that says yes, no, or goes away; and the messages that it showed."""
    shown: list[str] = []

    async def callback(context: Any, params: Any) -> mcp_types.ElicitResult:
        shown.append(params.message)
        if answer is None:
            return mcp_types.ElicitResult(action="cancel")
        return mcp_types.ElicitResult(action="accept", content={GO_AHEAD: answer})

    return callback, shown


def config(tmp_path: Path, **training: Any) -> Config:
    notes = ServerConfig("notes", "stdio", command=sys.executable, args=(str(NOTES), str(tmp_path)), options=PATIENT)
    audit = AuditSettings(tmp_path / "audit.jsonl")
    allowed = TrainingSettings(**{"sampling": True, **training})
    return Config((notes,), settings(tmp_path, training=allowed, state=tmp_path / "state", audit=audit))


@asynccontextmanager
async def opened(tmp_path: Path, mode: Any, **callbacks: Any) -> AsyncIterator[tuple[Client, Gateway]]:
    with anyio.fail_after(LIMIT):
        async with (
            Gateway(config(tmp_path), pipeline=alone(None)) as gateway,
            Client(build_server(gateway, further=write_requests(gateway)), mode=mode, **callbacks) as client,
        ):
            yield client, gateway


def gathered(tmp_path: Path, servers: tuple[ServerSpec, ...], **training: Any) -> Any:
    return gather(config(tmp_path, **training), servers)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_what_the_clients_model_writes_is_kept_marked_and_learnt_from(mode: str, tmp_path: Path) -> None:
    model, (form, shown) = Model(), forms(True)
    async with opened(tmp_path, mode, sampling_callback=model, elicitation_callback=form) as (client, gateway):
        assert [tool.name for tool in (await client.list_tools()).tools][3] == NAME
        result = await client.call_tool(NAME, {"server": "notes"})
        servers = gateway.catalog.servers
    assert result.is_error is False
    made = result.structured_content
    tools = {tool.name for tool in servers[0].tools}
    assert set(made["written"]) <= tools and set(made["written"].values()) == {6, 12}
    assert made["consent"] == "user" and len(shown) == 1 and "'notes'" in shown[0]
    assert made["left_out"][FORMLESS] == len(model.asked) <= QUESTIONS
    assert sum(made["left_out"].values()) == 2 * len(model.asked)
    (asked, *_) = model.asked
    assert asked.system_prompt is not None and '{"examples"' in asked.system_prompt and asked.max_tokens > 100
    found = gathered(tmp_path, servers)
    assert found.counts("notes", "add_note") == {"sampling": made["written"]["add_note"]}
    assert found.said("notes") == []  # a model does not know what is asked for often
    assert make_material(servers[0], 0, found).sources["sampling"] == sum(made["written"].values())
    assert gathered(tmp_path, servers, sampling=False).counts() == {}
    events = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    methods = [event["method"] for event in events if event["event"] == "question"]
    assert methods == ["elicitation/create", *["sampling/createMessage"] * len(model.asked)]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_calls_go_on_where_the_last_one_stopped_and_end_when_every_tool_has_enough(
    mode: str, tmp_path: Path
) -> None:
    model, (form, _) = Model(), forms(True)
    async with opened(tmp_path, mode, sampling_callback=model, elicitation_callback=form) as (client, gateway):
        before = -1
        while before < len(model.asked):
            before = len(model.asked)
            made = (await client.call_tool(NAME, {"server": "notes"})).structured_content
            assert len(model.asked) - before <= QUESTIONS
        servers = gateway.catalog.servers
    assert made["lacking"] == [] and len(model.asked) == 2 * len(servers[0].tools)
    counts = gathered(tmp_path, servers).counts("notes", "add_note")
    assert counts == {"sampling": EACH}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("answer", [False, None])
async def test_without_the_users_yes_nothing_is_asked_or_kept(mode: str, answer: bool | None, tmp_path: Path) -> None:
    model, (form, shown) = Model(), forms(answer)
    async with opened(tmp_path, mode, sampling_callback=model, elicitation_callback=form) as (client, _):
        result = await client.call_tool(NAME, {"server": "notes"})
    assert result.is_error and "did not agree" in result.content[0].text
    assert len(shown) == 1 and model.asked == [] and not (tmp_path / "state" / FILE).exists()


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_where_no_form_can_be_shown_the_config_is_the_consent_and_that_is_said(mode: str, tmp_path: Path) -> None:
    async with opened(tmp_path, mode, sampling_callback=Model()) as (client, _):
        result = await client.call_tool(NAME, {"server": "notes"})
    assert result.structured_content["consent"] == "config"
    assert "dualtune.training.sampling in the config was taken" in result.content[0].text


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_without_sampling_is_told_so_and_asked_nothing(mode: str, tmp_path: Path) -> None:
    form, shown = forms(True)
    async with opened(tmp_path, mode, elicitation_callback=form) as (client, _):
        result = await client.call_tool(NAME, {"server": "notes"})
    assert result.is_error and "did not declare `sampling`" in result.content[0].text and shown == []


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_stops_answering_keeps_what_was_written(mode: str, tmp_path: Path) -> None:
    async with opened(tmp_path, mode, sampling_callback=Model(stop="User rejected")) as (client, gateway):
        try:
            result = await client.call_tool(NAME, {"server": "notes"})
        except MCPError:
            # The SDK's client of the stateless protocol gives its own call up where it refuses a question.
            assert mode == "auto"
        else:
            assert "User rejected" in result.structured_content["stopped"]
        servers = gateway.catalog.servers
    assert sum(gathered(tmp_path, servers).counts().values()) == 6


async def test_an_unknown_server_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    async with opened(tmp_path, "auto", sampling_callback=Model()) as (client, _):
        result = await client.call_tool(NAME, {"server": "nots"})
        wrong = await client.call_tool(NAME, {"server": "notes", "more": 1})
    assert result.is_error and "notes" in result.content[0].text
    assert wrong.is_error and "called wrongly" in wrong.content[0].text


async def test_the_tool_is_there_only_where_the_config_allows_it(tmp_path: Path) -> None:
    assert write_requests(Gateway(config(tmp_path, sampling=False))) == ()
    assert [tool.name for tool in write_requests(Gateway(config(tmp_path)))] == [WIRE["name"]]
