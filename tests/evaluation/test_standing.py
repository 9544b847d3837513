"""What a report says, and its page: nothing from outside, nothing unescaped, every number there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.evaluation.cases import Answer, Case
from mcp_dualtune.evaluation.harness import Prediction
from mcp_dualtune.evaluation.page import page
from mcp_dualtune.evaluation.plots import Span, bars, calibration, milliseconds, spans
from mcp_dualtune.evaluation.score import Bin, Rate
from mcp_dualtune.evaluation.standing import Standing, Tokens, count_tokens
from mcp_dualtune.evaluation.ways import Way
from mcp_dualtune.mcp_server.exposure import own_tools
from tests.naming_engine import byte_tokenizer, tool

HOSTILE = '<script src="https://evil.example/x.js"></script>\u202e'


def call(name: str, value: str = "a") -> Answer:
    return Answer("call", "notes", name, {"text": value})


def decided(place: int, name: str, value: str = "a", confidence: float = 0.9) -> Prediction:
    speakers = ("route", "select", "arguments (reading) + arguments")
    return Prediction(
        str(place), "call", "notes", name, {"text": value}, (), confidence, 20.0 + place, speakers=speakers
    )


CASES = (
    Case("0", "note a", "request", (call("add"),), {}),
    Case("1", f"note {HOSTILE}", "request", (call("add"),), {}),
    Case("2", "note b", "request", (call("add", "b"),), {}),
    Case("3", "fly", "refusal", (Answer("none"),), {}),
    Case("4", "note", "missing", (Answer("ask", "notes", "add", missing=frozenset({"text"})),), {}),
    Case("5", "drop it", "own", (Answer("call", "notes", "drop"),), {}),
)
FOUND = (
    decided(0, "add"),
    decided(1, "drop"),
    decided(2, "add", "x", 0.3),
    Prediction("3", "none", confidence=0.6, ms=5.0, speakers=("route",)),
    decided(4, "drop"),
    decided(5, "drop"),
)


@pytest.fixture
def standing() -> Standing:
    return Standing(
        source="mcp.json",
        at="2026-01-02 03:04 UTC",
        seed=7,
        servers={"notes": 2},
        kinds={"request": 3, "refusal": 1, "missing": 1, "own": 1},
        ways=(
            Way("in_use", "in use", "what serves", CASES, FOUND),
            Way("words", "shared words", "by words", CASES[:2], FOUND[:2], fills=False),
            Way("one_prompt", "one prompt", "all at once", note="left out"),
        ),
        tokens=Tokens("tiny", {"notes": 900}, 100),
        model="tiny",
        model_digest="ab" * 32,
        load_seconds=1.0,
        peak_megabytes=300.0,
        seconds=12.0,
        unasked={"notes": {"shred": HOSTILE}},
        unavailable={"mail": "it does not start"},
    )


def test_stages_are_counted_where_the_one_before_was_right(standing: Standing) -> None:
    stages = standing.score.stages
    assert stages.route == Rate(5, 5)
    assert stages.select == Rate(3, 5)
    assert stages.arguments == Rate(1, 2)
    assert standing.score.by_tool["notes/drop"].tool == Rate(1, 1)


def test_where_only_the_tool_is_known_it_counts_as_no_full_call(standing: Standing) -> None:
    assert standing.score.rates.full_call == Rate(1, 3)
    assert standing.score.by_kind["own"].decision == Rate(1, 1)


def test_confusions_and_speakers_are_counted(standing: Standing) -> None:
    pairs = {(one.expected, one.decided): one.count for one in standing.confusions}
    assert pairs == {
        ("notes/add", "notes/drop"): 1,
        ("notes/add", "notes/add, other arguments"): 1,
        ("notes/add: ask for text", "notes/drop"): 1,
    }
    assert standing.speakers == {"route": 6, "select": 5, "arguments (reading)": 5, "arguments": 5}


def test_the_json_says_all_of_it(standing: Standing) -> None:
    found = json.loads(json.dumps(standing.to_json()))
    assert found["tokens"]["saved"] == 800
    assert [way["way"] for way in found["ways"]] == ["in_use", "words", "one_prompt"]
    assert "accuracy" not in found["ways"][2]
    assert found["unavailable"] == {"mail": "it does not start"}
    assert 0 <= found["calibration_error"] <= 1


class _Page(HTMLParser):
    """Checks that tags are balanced, and notes what a page would load."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [name for name, _ in attributes if name in ("src", "href", "srcset", "onload", "onclick")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(standing: Standing) -> None:
    text = page(standing)
    read = _Page()
    read.feed(text)
    assert read.open == [] and read.loads == []
    assert not read.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert "@import" not in text and "url(" not in text
    assert "prefers-color-scheme:dark" in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text


def test_what_servers_and_requests_say_is_only_text(standing: Standing) -> None:
    text = page(standing)
    assert "<script" not in text and "\u202e" not in text
    assert "&lt;script" in text


def test_the_page_has_the_numbers_a_person_looks_for(standing: Standing) -> None:
    words = re.sub(r"<[^>]+>", " ", page(standing))
    for said in ("60.0%", "95 %", "notes/add", "Worst confusions", "Expected calibration error", "800", "300 MB"):
        assert said in words, said
    for said in ("mcp.json", "seed 7", "shred", "mail", "left out", "which adapters spoke", "arguments (reading)"):
        assert said.lower() in words.lower(), said


def test_the_same_decisions_make_the_same_page(standing: Standing) -> None:
    assert page(standing) == page(standing)


def test_plots_are_valid_and_say_what_they_show() -> None:
    rows = [("a <b> with a name that is much too long", Rate(1, 4), True), ("none", Rate(0, 0), False)]
    drawn = (
        bars("Right & wrong", rows),
        calibration("Sure", [Bin(0.5, Rate(3, 4)), Bin(1.0, Rate(1, 1))]),
        spans("Time", [Span("fast", 0.05, 0.2), Span("slow", 900.0, 2500.0, True)]),
        spans("Same", [Span("one", 10.0, 10.0)]),
    )
    for text in drawn:
        root = ElementTree.fromstring(text)
        assert root.find("title") is not None
        for value in re.findall(r'\s(?:x|cx|width|r)="([^"]+)"', text):
            assert 0 <= float(value) <= 600
    assert "not measured" in drawn[0] and "…" in drawn[0]
    assert spans("Nothing", []) == ""


def test_times_are_said_as_people_say_them() -> None:
    assert [milliseconds(ms) for ms in (0.05, 12.34, 2500.0)] == ["0.05 ms", "12.3 ms", "2.5 s"]


def test_tokens_are_those_of_definitions_alone() -> None:
    server = build_server("notes", "Notes.", [tool("add", text={"type": "string"})]).spec
    found = count_tokens(byte_tokenizer(), "bytes", Catalog((server,)), own_tools())
    definition = {
        "name": "add",
        "description": server.tools[0].description,
        "inputSchema": server.tools[0].input_schema,
    }
    assert found.all == len(json.dumps([definition], separators=(",", ":")))
    assert found.own > 300 and found.saved == found.all - found.own
