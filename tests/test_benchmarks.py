"""The benchmarks measure what they say they do; how fast this machine is does not matter here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.latency import Timings, benchmark, naive_prompt, pairs, summary, tell
from mcp_dualtune.catalog.catalog import load_catalog_file
from mcp_dualtune.evaluation.cases import built_in, load_suite
from tests.naming_engine import byte_tokenizer
from tests.tiny_models import tiny_llama

FILES = built_in("seven")
assert FILES is not None
SUITE, CATALOG = FILES


def test_the_report_is_timed_on_five_servers_of_the_package(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(report.catalog()), encoding="utf-8")
    found = load_catalog_file(file)
    assert [server.name for server in found.servers] == list(report.SERVERS)
    assert len(found.tools) > 40


def test_requests_are_compared_in_pairs_for_the_same_tool() -> None:
    chosen = pairs(load_suite(SUITE), 6)
    assert len(chosen) == 6
    for first, second in chosen:
        assert first.query != second.query
        assert (first.expected.server, first.expected.tool) == (second.expected.server, second.expected.tool)
        assert second.expected.outcome == "call"
        assert second.servers is None
    assert len({first.expected.server for first, _ in chosen}) > 2


def test_the_naive_prompt_has_every_tool_and_is_cut_only_when_it_must_be() -> None:
    tokenizer, catalog = byte_tokenizer(), load_catalog_file(CATALOG)
    whole, length = naive_prompt(tokenizer, catalog, "the request", 10**9)
    text = tokenizer.decode(whole)
    assert len(whole) == length
    assert all(f"{tool.server}.{tool.name}" in text for tool in catalog.tools)
    cut, same_length = naive_prompt(tokenizer, catalog, "the request", 200)
    assert (len(cut), same_length) == (200, length)
    assert "the request" in tokenizer.decode(cut)


def test_the_summary_gives_medians_and_ratios_of_whole_decisions() -> None:
    ms = {"naive": [100.0, 300.0, 200.0], "cold": [50.0, 30.0], "warm": [10.0]}
    found = summary(Timings(ms, decisions=4, complete=3, naive_tokens=[900, 1100]), 1000)
    assert (found["naive"]["median_ms"], found["naive"]["p95_ms"], found["naive"]["runs"]) == (200, 300, 3)
    assert (found["naive_over_cold"], found["naive_over_warm"]) == (5.0, 20.0)
    assert (found["naive_prompt_tokens"], found["naive_prompt_cut_to"]) == (1100, 1000)
    assert found["three_stage_share"] == 0.75
    nothing = summary(Timings({"naive": [1.0], "cold": [], "warm": []}, 2, 0, [10]), 1000)
    assert nothing["cold"]["median_ms"] is None
    assert nothing["naive_over_warm"] is None
    assert nothing["naive_prompt_cut_to"] is None


def test_the_benchmark_runs_on_a_real_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One request, no fresh process: the model is random, so whether its decisions are whole is open."""
    found = benchmark(tiny_llama(tmp_path, context_length=512), requests=1, rounds=1, starts=0)
    assert found["naive"]["runs"] == 1
    assert found["naive"]["median_ms"] > 0
    assert found["naive_prompt_tokens"] > found["naive_prompt_cut_to"] == 512
    assert found["cold"]["runs"] + found["warm"]["runs"] == found["three_stage_share"] * 2
    assert found["peak_memory_mb"] > 1
    tell(found)
    shown = capsys.readouterr().out
    assert "CUT to the model's 512" in shown
    assert "load average" in shown
