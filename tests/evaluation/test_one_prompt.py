"""The naive way: every answer is a call that exists, a question or nothing; what does not fit is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import Config
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.one_prompt import LONGEST, OnePrompt
from mcp_dualtune.types import HistoryItem, ToolCall
from tests.naming_engine import NamingEngine, byte_tokenizer, tool
from tests.tiny_models import tiny_llama, tiny_qwen2

TEXT = {"type": "string"}
TOOLS = [tool("log", ("repo_path",), repo_path=TEXT, count={"type": "integer"}), tool("status")]
GIT = build_server("git", "Reads repositories.", TOOLS, fixed_arguments={"count": 3}).spec
CATALOG = Catalog((GIT,))
DONE = (HistoryItem(ToolCall("git", "status", {}), "clean"),)
CASE = Case("a", "show the log of /r", "request", (Answer("call", "git", "log", {"repo_path": "/r"}),), {}, DONE)


def said(answer: object) -> tuple[Prediction, NamingEngine]:
    engine = NamingEngine(byte_tokenizer())
    engine.answers = [answer if isinstance(answer, str) else json.dumps(answer)]
    (found,) = OnePrompt(engine, CATALOG).run([CASE], Config())
    return found, engine


def test_a_call_has_what_the_config_fixes() -> None:
    found, engine = said({"tool": "git.log", "arguments": {"repo_path": "/r"}})
    assert (found.outcome, found.server, found.tool) == ("call", "git", "log")
    assert found.arguments == {"repo_path": "/r", "count": 3}
    assert '"git.status"' in engine.prompts[0]
    assert "Result: clean\nRequest: show the log of /r" in engine.prompts[0]
    assert engine.adapters == [None]


def test_a_value_that_is_missing_is_a_question_and_none_is_nothing() -> None:
    found, _ = said({"tool": "git.log", "arguments": {"repo_path": "<|ask|>"}})
    assert (found.outcome, found.missing) == ("ask", ("repo_path",))
    assert said({"tool": "none"})[0].outcome == "none"


def test_an_answer_without_end_is_an_error_of_that_case() -> None:
    engine = NamingEngine(byte_tokenizer())
    engine.answers, engine.complete = ["{"], False
    (found,) = OnePrompt(engine, CATALOG).run([CASE], Config())
    assert found.outcome == "error" and str(LONGEST) in (found.error or "")


@pytest.mark.parametrize("family", [tiny_llama, tiny_qwen2])
def test_a_real_model_can_only_name_tools_that_exist(family: object, tmp_path: Path) -> None:
    engine = HFEngine(load_model(family(tmp_path), "float32", threads=1))  # type: ignore[operator]
    prompt = OnePrompt(engine, CATALOG)
    assert not prompt.is_cut
    (found,) = prompt.run([CASE], Config())
    assert found.outcome in ("call", "ask", "none", "error")
    assert found.tool in ("log", "status", None)
    assert found.error is None or "no end" in found.error


def test_what_does_not_fit_is_cut(tmp_path: Path) -> None:
    engine = HFEngine(load_model(tiny_llama(tmp_path, context_length=LONGEST + 200), "float32", threads=1))
    prompt = OnePrompt(engine, CATALOG)
    assert prompt.is_cut and prompt.shown == 200
    (found,) = prompt.run([CASE], Config())
    assert "exceeds" not in (found.error or "")
