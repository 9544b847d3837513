"""Which tools a client sees."""

from __future__ import annotations

import jsonschema
import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.mcp_server.exposure import Exposed, own_tools

CATALOG = Catalog(
    tuple(
        build_server(
            server,
            "",
            [
                {
                    "name": name,
                    "title": name.title(),
                    "description": f"{name} it",
                    "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}},
                    "outputSchema": {"type": "object"},
                    "annotations": {"readOnlyHint": True},
                }
                for name in ("list", "add item")
            ],
        ).spec
        for server in ("notes", "tasks")
    )
)


def test_nothing_of_the_servers_is_shown_by_default() -> None:
    assert Exposed("none").wire_tools(CATALOG) == []


def test_all_shows_every_tool_once_under_a_name_that_hosts_accept() -> None:
    shown = Exposed("all").wire_tools(CATALOG)
    assert [tool["name"] for tool in shown] == [
        "notes__list",
        "notes__add_item",
        "tasks__list",
        "tasks__add_item",
    ]
    assert shown[0] == {
        "name": "notes__list",
        "title": "List",
        "description": "list it",
        "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}},
        "outputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True},
    }


def test_an_empty_prefix_shows_bare_names_and_says_which_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    exposed = Exposed("all", {"notes": "", "tasks": ""})
    for _ in range(2):
        assert list(exposed.tools(CATALOG)) == ["list", "add_item", "tasks__list", "tasks__add_item"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        'tasks: "add item" keeps its prefix: the shorter name is taken',
        'tasks: "list" keeps its prefix: the shorter name is taken',
    ]


def test_selected_shows_what_was_found_and_says_when_that_grows() -> None:
    exposed = Exposed("selected")
    assert exposed.wire_tools(CATALOG) == []
    assert exposed.select([CATALOG.tool("tasks", "list")]) is True
    assert exposed.select([CATALOG.tool("tasks", "list")]) is False
    assert list(exposed.tools(CATALOG)) == ["tasks__list"]


@pytest.mark.parametrize("tool", own_tools(), ids=lambda tool: str(tool["name"]))
def test_our_own_tools_have_valid_schemas_and_annotations(tool: dict[str, object]) -> None:
    for schema in (tool["inputSchema"], tool["outputSchema"]):
        jsonschema.Draft202012Validator.check_schema(schema)  # type: ignore[arg-type]
    assert tool["annotations"]["readOnlyHint"] is (tool["name"] != "do")  # type: ignore[index]
