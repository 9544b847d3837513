"""What slots a schema has: options that only a text lists, and one value or more."""

from __future__ import annotations

import time

import pytest

from mcp_dualtune.prompting.slots import one_or_more, slots_of, told_options, values_of
from mcp_dualtune.types import JSON

STRINGS: JSON = {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("'both' (one above the other), 'waveform' or 'spectrogram'.", ["both", "waveform", "spectrogram"]),
        ('"text", "txt" for a file, or "both".', ["text", "txt", "both"]),
        ("Order. Valid values: asc, desc. Default: asc.", ["asc", "desc"]),
        ("The view (`day`, `week` or `month`)", ["day", "week", "month"]),
        ("tiny/base/small/large-v3 (bigger is slower)", ["tiny", "base", "small", "large-v3"]),
        ("Either open or closed", ["open", "closed"]),
        ("One of: red|green|blue", ["red", "green", "blue"]),
        ("Language such as 'de', 'fr' or 'it'", []),
        ('Which pages: "1-10", "3" or "all"', []),
        ("Comma-separated list. Valid values: a, b, c", []),
        ("Date as MM/dd/yyyy", []),
        ("Must be case-sensitive and exact", []),
        ("The branch, usually `main` or `master`", []),
        ("Use `from` or `to`: from, to", []),
        ("'before' or 'after' the anchor, 'top' of the file", ["before", "after", "top"]),
        ("Set of names: ebu_r128, spotify, youtube, game_sfx", ["ebu_r128", "spotify", "youtube", "game_sfx"]),
        ("Text: steps, expected, actual", []),
        ("Where `from` is one of 'a' or 'b'", []),
        ("Title of the note", []),
    ],
)
def test_options_that_a_text_lists(text: str, options: list[str]) -> None:
    assert list(told_options(text, frozenset({"from", "to"}))) == options


@pytest.mark.parametrize("text", ["'a', ", "a, ", "or ", ": a", "'", "a/", " ", "(", "\\n", "`a` or "])
def test_odd_texts_take_no_time(text: str) -> None:
    began = time.process_time()
    told_options("one of: " + text * 50_000)
    assert time.process_time() - began < 1


def test_told_options_are_a_slots_options() -> None:
    kind = {"type": "string", "description": "One of: day, night"}
    schema = {"properties": {"kind": kind, "kinds": {**kind, **STRINGS}}}
    assert [slots_of(schema, name)[0].schema.get("enum") for name in ("kind", "kinds")] == [["day", "night"]] * 2
    assert "enum" not in slots_of({"properties": {"day": {}, "night": {}, "kind": kind}}, "kind")[0].schema


@pytest.mark.parametrize("extra", [[], [{"type": "null"}]])
def test_one_value_or_a_list_of_them_is_read_as_a_list(extra: list[JSON]) -> None:
    union = {"anyOf": [{"type": "string"}, STRINGS, *extra], "description": "Which"}
    (slot,) = slots_of({"properties": {"refs": union}}, "refs")
    assert slot.path == ("refs", "[]")
    assert slot.schema["description"] == "Which"
    assert values_of(slot, {"refs": "a"}) == ["a"]
    assert values_of(slot, {"refs": ["a", "b"]}) == ["a", "b"]


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}],
        [{"type": "string"}, {"type": "integer"}],
        [{"type": "string"}, {"type": "integer"}, STRINGS],
        [STRINGS],
        [{"type": "object"}, {"type": "array"}],
    ],
)
def test_other_unions_are_not(options: list[JSON]) -> None:
    assert one_or_more({"anyOf": options}) == {}
