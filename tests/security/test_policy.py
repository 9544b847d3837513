"""Rules first, then the tool's own word."""

from __future__ import annotations

import pytest

from mcp_dualtune.catalog.catalog import build_tool
from mcp_dualtune.config import PolicyRule
from mcp_dualtune.security.policy import Policy, may_repeat
from mcp_dualtune.types import ToolSpec


def tool(**annotations: object) -> ToolSpec:
    return build_tool("files", {"name": "delete_file", "inputSchema": {"type": "object"}, "annotations": annotations})


@pytest.mark.parametrize(
    ("annotations", "action"),
    [
        ({}, "allow"),
        ({"readOnlyHint": True}, "allow"),
        ({"readOnlyHint": True, "openWorldHint": True, "destructiveHint": True}, "allow"),
        ({"readOnlyHint": False}, "ask"),
        ({"readOnlyHint": False, "destructiveHint": False}, "allow"),
        ({"readOnlyHint": False, "destructiveHint": False, "openWorldHint": True}, "ask"),
        ({"destructiveHint": True}, "ask"),
        ({"openWorldHint": True}, "ask"),
        ({"idempotentHint": True}, "allow"),
        ({"readOnlyHint": None, "x-vendor": "anything"}, "allow"),
        ({"readOnlyHint": "true"}, "ask"),
        ({"readOnlyHint": True, "destructiveHint": "no"}, "ask"),
        ({"openWorldHint": 1}, "ask"),
    ],
)
def test_annotations_decide_where_no_rule_does(annotations: dict[str, object], action: str) -> None:
    verdict = Policy().check(tool(**annotations))
    assert verdict.action == action
    assert "files/delete_file" in verdict.reason and not verdict.by_rule


def test_first_fitting_rule_wins_over_later_rules_and_annotations() -> None:
    policy = Policy([PolicyRule("git/*", "deny"), PolicyRule("files/delete_*", "deny"), PolicyRule("*/*", "allow")])
    verdict = policy.check(tool(readOnlyHint=True))
    assert (verdict.action, verdict.by_rule) == ("deny", True)
    assert "files/delete_*" in verdict.reason


def test_only_a_tool_that_says_so_may_be_called_twice() -> None:
    assert may_repeat(tool(readOnlyHint=True)) and may_repeat(tool(idempotentHint=True))
    assert not may_repeat(tool()) and not may_repeat(tool(destructiveHint=False))


def test_servers_own_default_holds_where_no_rule_does_and_for_no_other_server() -> None:
    policy = Policy([PolicyRule("files/read*", "allow")], {"files": "deny", "git": None})
    verdict = policy.check(tool(readOnlyHint=True))
    assert (verdict.action, verdict.by_rule) == ("deny", True)
    assert "files/delete_file" in verdict.reason
    assert Policy([PolicyRule("files/*", "allow")], {"files": "deny"}).check(tool()).action == "allow"
    assert Policy(servers={"git": "deny"}).check(tool()).action == "allow"


def test_pattern_speaks_of_a_whole_name_in_its_own_case() -> None:
    for pattern, fits in (
        ("files/delete_?ile", True),
        ("files/delete", False),
        ("FILES/*", False),
        ("*", True),
        ("*/*_file", True),
    ):
        assert (Policy([PolicyRule(pattern, "deny")]).check(tool()).action == "deny") is fits
