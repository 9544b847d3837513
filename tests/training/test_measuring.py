"""What a report asks: every tool in wordings kept back from training, answers that fit, nothing that another serves."""

from __future__ import annotations

from dataclasses import replace

from mcp_dualtune.catalog.catalog import build_server
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.training.measuring import measure
from mcp_dualtune.training.synthesis import synthesise
from mcp_dualtune.training.synthesis.own_examples import OwnExample
from mcp_dualtune.types import FINISH, NONE
from tests.training.invented_servers import LISTS, invented

SERVERS = (invented("helpdesk"), invented("shop"))


def test_the_same_seed_asks_the_same_and_another_seed_something_else() -> None:
    assert measure(SERVERS, 3, 60) == measure(SERVERS, 3, 60)
    texts = [{one.case.query for one in measure(SERVERS, seed, 60).asked} for seed in (3, 4)]
    assert len(texts[0] & texts[1]) < len(texts[0]) / 2


def test_every_tool_is_asked_for_and_the_first_requests_are_spread_over_all() -> None:
    found = measure(SERVERS, 1, 80)
    tools = {(server.name, tool.name) for server in SERVERS for tool in server.tools}
    silent = {(server, tool) for server, names in found.unasked.items() for tool in names}
    asked = [(one.case.server.name, one.case.tool) for one in found.asked]
    assert tools - set(asked) == silent
    assert tools - silent <= set(asked[: len(tools) + 4])
    assert set(found.kinds) == {"request", "missing", "chain", "refusal"}
    assert all(why for names in found.unasked.values() for why in names.values())


def test_answers_fit_the_schemas() -> None:
    for one in measure(SERVERS, 2, 80).asked:
        if one.case.tool in (NONE, FINISH):
            continue
        tool = next(tool for tool in one.case.server.tools if tool.name == one.case.tool)
        needed = [name for name in tool.input_schema.get("required") or () if name not in one.case.missing]
        assert one.case.arguments is not None
        assert validate_arguments({**tool.input_schema, "required": needed}, one.case.arguments) == ()
        assert not set(one.case.missing) & set(one.case.arguments)


def test_nothing_that_training_says_is_asked() -> None:
    learnt = {t.text for e in synthesise(SERVERS[0], 5, 300).training.entries for t in e.requests}
    part = measure(SERVERS[:1], 5, 60)
    assert not learnt & {one.case.query for one in part.asked}


def test_what_the_config_fixes_is_part_of_the_right_call_and_never_asked_for() -> None:
    fixed = replace(SERVERS[0], fixed_arguments={"ticket_key": "SUP-1"})
    for one in measure((fixed,), 1, 60).asked:
        tool = next((tool for tool in fixed.tools if tool.name == one.case.tool), None)
        if tool is not None and "ticket_key" in tool.input_schema["properties"]:
            assert (one.case.arguments or {})["ticket_key"] == "SUP-1"
            assert "ticket_key" not in one.case.missing


def test_own_examples_are_all_asked() -> None:
    own = [
        OwnExample("shut SUP-9", "helpdesk", "close_ticket", {"ticket_key": "SUP-9"}),
        OwnExample("hand it to Ana", "helpdesk", "assign_ticket", {"agent": "Ana"}),
        OwnExample("print it", "helpdesk", NONE),
        OwnExample("where is my parcel", "shop", "getOrderStatus"),
    ]
    cases = {one.case.query: one.case for one in measure(SERVERS, 1, 40, own).asked if one.kind == "own"}
    assert cases.keys() == {example.request for example in own}
    assert cases["hand it to Ana"].missing == ("ticket_key",)
    assert cases["where is my parcel"].arguments is None


def test_a_tool_that_nothing_can_be_made_for_is_named_with_the_reason() -> None:
    odd = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^(?=a)b$"}}, "required": ["code"]}
    tools = [*LISTS["helpdesk"][:2], {"name": "unlock", "description": "Unlocks it.", "inputSchema": odd}]
    found = measure((build_server("helpdesk", "", tools).spec,), 1, 20)
    assert list(found.unasked["helpdesk"]) == ["unlock"]
    assert "code" in found.unasked["helpdesk"]["unlock"]
