"""A user's own examples: two fields are enough, mistakes are named with their line, and they count for more."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.cases import CaseMaker
from mcp_dualtune.training.records import Entry, RequestTemplate, fill
from mcp_dualtune.training.sources import Corpus
from mcp_dualtune.training.synthesis import Synthesis, synthesise
from mcp_dualtune.training.synthesis.own_examples import (
    OwnExample,
    Split,
    example_case,
    read_examples,
    split_examples,
    with_examples,
)
from tests.training.invented_servers import invented

DRAWS = 1500
SERVERS = (invented("helpdesk"), invented("shop"))
CLOSE = {"request": "SUP-77 was a duplicate, shut it", "tool": "close_ticket", "arguments": {"ticket_key": "SUP-77"}}


MANY = synthesise(SERVERS[0], 1, 1000)


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "examples.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def helpdesk() -> Synthesis:
    return synthesise(SERVERS[0], 1, 120)


def test_two_fields_are_enough(tmp_path: Path) -> None:
    rows = read_examples(written(tmp_path, {"request": "who is on duty?", "tool": "list_agents"}, "", CLOSE), SERVERS)
    assert rows == [
        OwnExample("who is on duty?", "helpdesk", "list_agents", {}),
        OwnExample(CLOSE["request"], "helpdesk", "close_ticket", CLOSE["arguments"]),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "JSON object"),
        ({"tool": "list_agents"}, "`request` is missing"),
        ({"request": "x"}, "`tool` is missing"),
        ({"request": "x", "tool": "close_tickets"}, "no server has a tool `close_tickets`"),
        ({"request": "x", "tool": "list_agents", "server": "shop"}, "has no tool `list_agents`"),
        ({"request": "x", "tool": "list_agents", "server": "desk"}, "there is no server `desk`"),
        ({"request": "x", "tool": "none"}, 'Add the field "server"'),
        ({"request": "x", "tool": "list_agents", "args": {}}, "`args` is not a field"),
        ({"request": "x", "tool": "close_ticket", "arguments": {"ticket_key": 7}}, "do not fit `close_ticket`"),
        ({"request": "x", "tool": "close_ticket", "arguments": 7}, "not a JSON object"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_do(line: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        read_examples(written(tmp_path, CLOSE, line), SERVERS)
    assert "line 2" in str(caught.value) and problem in str(caught.value)
    assert caught.value.hint


def test_a_missing_file_is_an_error_that_shows_the_format(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="close_ticket"):
        read_examples(tmp_path / "none.jsonl", SERVERS)


def test_examples_are_learnt_as_written_and_with_other_values_and_weigh_more(tmp_path: Path) -> None:
    before = helpdesk()
    after = with_examples(before, read_examples(written(tmp_path, CLOSE), SERVERS))
    entry = next(e for e in after.training.entries if e.tool == "close_ticket")
    own = [t for t in entry.requests if "was a duplicate" in t.text]
    assert {t.text for t in own} == {CLOSE["request"], "{ticket_key} was a duplicate, shut it"}
    drawn = {fill(t, random.Random(seed))[0] for t in own for seed in range(20)}
    assert len(drawn) > 5
    assert after.counts["own"] == 1
    assert after.held_out == before.held_out


def test_examples_that_lack_values_choices_and_refusals_go_where_they_belong(tmp_path: Path) -> None:
    lines = (
        {"request": "hand it to Ana", "tool": "assign_ticket", "arguments": {"agent": "Ana"}},
        {"request": "who works on the printer case?", "tool": "get_ticket"},
        {"request": "print the ticket", "tool": "none", "server": "helpdesk"},
        {"request": "where is my parcel", "tool": "getOrderStatus"},
    )
    part = with_examples(helpdesk(), read_examples(written(tmp_path, *lines), SERVERS)).training
    missing = next(e.missing for e in part.entries if e.tool == "assign_ticket")
    assert ("hand it to Ana", ("ticket_key",)) in [(t.text, names) for t, names in missing]
    assert [t.text for e in part.entries if e.tool == "get_ticket" for t in e.choices] == [
        "who works on the printer case?"
    ]
    assert "print the ticket" in part.refused
    assert not any("parcel" in t.text for e in part.entries for t in e.requests)


def drawn(
    examples: Sequence[OwnExample], make: Callable[[CaseMaker, Entry, random.Random], str], tool: str = "close_ticket"
) -> float:
    """The share of `examples` in what is drawn for a tool: their words show in it, mistyped or not."""
    corpus = Corpus()
    with_examples(MANY, examples).enter(corpus)
    entry = next(entry for entry in corpus.entries["helpdesk"] if entry.tool == tool)
    maker, rng = CaseMaker(corpus), random.Random("drawn")
    return sum("zz" in make(maker, entry, rng).lower() for _ in range(DRAWS)) / DRAWS


def single(maker: CaseMaker, entry: Entry, rng: random.Random) -> str:
    while (case := maker.single("helpdesk", entry, rng)).missing:
        pass
    return case.query


@pytest.mark.parametrize(("count", "share"), [(1, 1 / 3), (2, 1 / 2), (6, 3 / 4)])
def test_made_up_requests_weigh_as_much_as_two_examples_however_many_they_are(count: int, share: float) -> None:
    def lacking(maker: CaseMaker, entry: Entry, rng: random.Random) -> str:
        whole = RequestTemplate("has no place that could be left vague", {}, {})
        while not (case := maker.single("helpdesk", replace(entry, requests=(whole,)), rng)).missing:
            pass
        return case.query

    def choosing(maker: CaseMaker, entry: Entry, rng: random.Random) -> str:
        return maker.request("helpdesk", rng, entry).query

    def refused(maker: CaseMaker, entry: Entry, rng: random.Random) -> str:
        corpus = replace(maker.corpus, refused=dict.fromkeys(("helpdesk", ""), maker.corpus.refused["helpdesk"]))
        return CaseMaker(corpus).refused(["helpdesk"], rng)

    # Every other one has a value that is exchanged for others, and one an optional value: they weigh the same.
    whole = [
        OwnExample(f"zzzz zzzz {n}, SUP-7{n}", "helpdesk", "close_ticket", {"ticket_key": f"SUP-7{n}"})
        if n % 2
        else OwnExample(f"zzzz zzzz {n}", "helpdesk", "close_ticket", {"ticket_key": "SUP-7", "reason": "fixed"})
        for n in range(count)
    ]
    assert drawn(whole, single) == pytest.approx(share, abs=0.04)
    gaps = [OwnExample(f"zzzz zzzz {n}", "helpdesk", "close_ticket", {}) for n in range(count)]
    assert drawn(gaps, lacking) == pytest.approx(share, abs=0.04)
    tool_only = [OwnExample(f"zzzz {n} zzzz", "helpdesk", "close_ticket") for n in range(count)]
    assert drawn(tool_only, choosing) == pytest.approx(share, abs=0.04)
    assert drawn(tool_only, single) == 0.0  # they teach no arguments
    # With both, each example still weighs the same.
    assert drawn([*whole, *tool_only], choosing) == pytest.approx(2 * count / (2 * count + 2), abs=0.04)
    nothing = [OwnExample(f"zzzz zzzz {n}", "helpdesk", "none") for n in range(count)]
    assert drawn(nothing, refused) == pytest.approx(share, abs=0.04)


def test_a_tool_that_nothing_can_be_made_up_for_is_chosen_by_its_examples_alone() -> None:
    made = helpdesk()
    left = tuple(entry for entry in made.training.entries if entry.tool != "close_ticket")
    corpus = Corpus()
    bare = replace(made, training=replace(made.training, entries=left))
    with_examples(bare, [OwnExample("zzzz zzzz", "helpdesk", "close_ticket")]).enter(corpus)
    maker, rng = CaseMaker(corpus), random.Random(0)
    cases = [maker.request("helpdesk", rng) for _ in range(300)]
    assert sum(case.tool == "close_ticket" for case in cases) > 10


def requests(examples: Sequence[OwnExample]) -> list[str]:
    return [one.request for one in examples]


def test_of_few_examples_all_are_learnt_and_of_more_some_measure(tmp_path: Path) -> None:
    lines = [{"request": f"agents of group {n}", "tool": "list_agents"} for n in range(40)]
    examples = read_examples(written(tmp_path, *lines), SERVERS)
    assert split_examples(examples[:4]) == Split(tuple(examples[:4]))
    for count, judged, reported in ((5, 2, 0), (11, 4, 0), (12, 4, 2), (40, 13, 7)):
        split = split_examples(examples[:count])
        assert (len(split.judged), len(split.reported)) == (judged, reported)
        parts = (*split.learnt, *split.judged, *split.reported)
        assert sorted(one.request for one in parts) == sorted(one.request for one in examples[:count])
        assert len(split.learnt) == count - judged - reported
    assert set(requests(split_examples(examples).judged)) == set(requests(split_examples(examples[::-1]).judged))


def test_an_example_that_measures_has_what_is_right_for_it() -> None:
    server = SERVERS[0]
    lacks = example_case(OwnExample("hand it to Ana", "helpdesk", "assign_ticket", {"agent": "Ana"}), server, {})
    assert (lacks.missing, lacks.arguments) == (("ticket_key",), {"agent": "Ana"})
    nothing = example_case(OwnExample("print it", "helpdesk", "none"), server, {})
    assert (nothing.tool, nothing.arguments, nothing.missing) == ("none", None, ())
    only_tool = example_case(OwnExample("who works on it?", "helpdesk", "get_ticket"), server, {})
    assert (only_tool.tool, only_tool.arguments) == ("get_ticket", None)
