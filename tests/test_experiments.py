"""The experiments behind docs/EVALUATION.md: what they compare is what they say, and they run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ablation import LooseTemplate, held_out
from benchmarks.catalog_size import Point, among, distractors, table
from mcp_dualtune.evaluation.score import Rate
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.prompting.slots import slots_of
from mcp_dualtune.training.records import bucket
from mcp_dualtune.training.sources import SPLIT, tuned_corpus
from mcp_dualtune.types import Request, ServerSpec, ToolSpec
from tests.tiny_models import tiny_pieces


def server(name: str, *tools: str) -> ServerSpec:
    return ServerSpec(name, "", tuple(ToolSpec(name, tool, "", {"properties": {}}, "") for tool in tools), "")


def test_a_larger_catalog_holds_the_smaller_one() -> None:
    own, others = server("git", "log", "show"), [server(f"s{n}", "a", "b", "c") for n in range(9)]
    small, large = (among(own, others, tools) for tools in (7, 20))
    assert {one.name for one in small} < {one.name for one in large}
    assert [sum(len(one.tools) for one in shown) for shown in (small, large)] == [8, 20]
    assert among(own, others, 1) == (own,)


def test_copies_of_the_servers_of_a_suite_are_no_distractors(tmp_path: Path) -> None:
    rows = [
        {"server": "weather", "tools": [{"name": "forecast"}]},
        {"server": "my-git", "tools": [{"name": "clone"}]},
        {"server": "vcs", "tools": [{"name": "log"}, {"name": "show"}, {"name": "blame"}]},
    ]
    path = tmp_path / "catalogue.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [one.name for one in distractors(path, [server("git", "log", "show")])] == ["weather"]


def test_the_table_tells_rates_with_their_intervals() -> None:
    text = table([Point("seven", 10, 1, Rate(9, 10), Rate(8, 10), 12.3)])
    assert text.splitlines()[-1] == "| seven | 10 | 1 | 90.0 (60 to 98) | 80.0 (49 to 94) | 12 |"


def test_the_ablation_is_measured_on_the_held_out_split() -> None:
    corpus = tuned_corpus()
    cases = held_out(corpus, "git", 20)
    assert cases == held_out(corpus, "git", 20)
    assert {case.server.name for case in cases} == {"git"}
    kept = [r for e in corpus.entries["git"] for r in e.requests if bucket(r.text, SPLIT) == 0]
    assert len(kept) > 20
    assert not any(case.missing for case in cases)


@pytest.mark.parametrize(("template", "inside"), [(ReadingTemplate, False), (LooseTemplate, True)])
def test_without_constraints_values_may_begin_anywhere(template: type[ReadingTemplate], inside: bool) -> None:
    schema = {"properties": {"path": {"type": "string"}}}
    tool = ToolSpec("s", "t", "", schema, "")
    (page,) = template(tiny_pieces()).pages(Request("open a.md"), tool, slots_of(schema, "path"), {})
    assert bool(page.find(0, "md")) == inside
    assert page.find(0, "a.md")
