"""Trajectories and errors as MCP results."""

from __future__ import annotations

import logging
from typing import Any

import mcp.types as mcp_types
import pytest
from mcp.shared.exceptions import MCPError

from mcp_dualtune.errors import PolicyError, ServerUnavailable
from mcp_dualtune.mcp_server.results import trajectory_result, translate
from mcp_dualtune.types import ToolResult
from tests.decisions import decision, text, trajectory

BLOCKS: tuple[dict[str, Any], ...] = (
    {"type": "text", "text": "two", "annotations": {"priority": 0.5}, "_meta": {"k": 1}},
    {"type": "resource_link", "uri": "file:///a", "name": "a"},
    {"type": "image", "data": "aGk=", "mimeType": "image/png"},
)


def test_the_last_result_is_passed_on_block_by_block() -> None:
    last = ToolResult(BLOCKS, structured={"n": 2}, meta={"io.modelcontextprotocol/serverInfo": {}, "own/key": 1})
    wire = trajectory_result(trajectory(text("one"), last))
    assert wire["content"] == list(BLOCKS)
    assert wire["_meta"] == {"own/key": 1}
    steps = wire["structuredContent"]["steps"]
    assert steps[0]["result"] == {"is_error": False, "text": "one"}
    assert steps[1]["result"]["structured"] == {"n": 2}
    assert wire["isError"] is False


def test_a_failed_last_call_is_an_error_result_with_the_tools_own_words() -> None:
    wire = trajectory_result(trajectory(text("no such file", is_error=True)))
    assert wire["isError"] is True
    assert wire["content"] == [{"type": "text", "text": "no such file"}]


@pytest.mark.parametrize(
    ("run", "words", "is_error"),
    [
        (trajectory(final=decision("ask", missing=["title"], question="Which title?")), "Which title?", False),
        (trajectory(final=decision("none")), "None of the tools", False),
        (trajectory(final=decision("call"), stopped_by="policy", note="It was not called."), "not called", True),
        (trajectory(text("one"), final=decision(), stopped_by="error", note="git crashed."), "git crashed", True),
    ],
)
def test_a_run_without_a_usable_result_says_how_it_ended(run: Any, words: str, is_error: bool) -> None:
    wire = trajectory_result(run)
    assert words in wire["content"][0]["text"]
    assert wire["isError"] is is_error


def test_our_errors_become_readable_results_even_out_of_a_group() -> None:
    error = ServerUnavailable("git is gone.", hint="Start it again.")
    wire = translate(ExceptionGroup("tasks", [ExceptionGroup("inner", [error])]))
    assert wire["isError"] is True
    assert wire["content"][0]["text"] == "git is gone. Start it again."
    assert wire["structuredContent"]["error"]["retryable"] is True
    assert translate(PolicyError("no"))["isError"] is True


def test_an_unknown_error_shows_its_text_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(MCPError) as caught:
        translate(ValueError("the secret prompt"))
    assert caught.value.error.code == mcp_types.INTERNAL_ERROR
    assert "secret" not in str(caught.value) and "secret" not in caplog.text
    assert "ValueError" in caplog.text


def test_a_protocol_error_passes_whole() -> None:
    with pytest.raises(MCPError) as caught:
        translate(MCPError(-32005, "busy", {"after": 3}))
    assert (caught.value.error.code, caught.value.error.data) == (-32005, {"after": 3})
