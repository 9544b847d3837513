"""Rules first, then the tool's own word."""

from __future__ import annotations

import pytest

from mcp_dualtune.catalog.catalog import build_tool
from mcp_dualtune.config import PolicyRule
from mcp_dualtune.security.policy import Policy, may_repeat
from mcp_dualtune.types import ToolSpec


def tool(**annotations: bool) -> ToolSpec:
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
    ],
)
def test_annotations_decide_where_no_rule_does(annotations: dict[str, bool], action: str) -> None:
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
