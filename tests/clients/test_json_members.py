"""Members put into a JSON text and taken out of it: the value is right, and the rest of the text is as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_dualtune.clients.json_members import put_member, remove_member
from mcp_dualtune.config.json_text import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", '{\n  "s": {\n    "d": 1\n  }\n}\n'),
        ("// mine\n", '// mine\n{\n  "s": {\n    "d": 1\n  }\n}\n'),
        ("{}", '{"s": {"d": 1}}'),
        ('{"s":{}}', '{"s":{"d": 1}}'),
        ('{"s":{"a":2}}', '{"s":{"a":2, "d": 1}}'),
        ('{"s": null}', '{"s": {"d": 1}}'),
        ('{\n\t"s": {\n\t\t"a": 2 // two\n\t}\n}', '{\n\t"s": {\n\t\t"a": 2, // two\n\t\t"d": 1\n\t}\n}'),
        ('{\n "s": {\n  "a": 2, // two\n }\n}', '{\n "s": {\n  "a": 2, // two\n  "d": 1,\n }\n}'),
        ('{\n  "s": {\n    // none yet\n  }\n}', '{\n  "s": {\n    // none yet\n    "d": 1\n  }\n}'),
        ('{\n  "s": {}\n}', '{\n  "s": {\n    "d": 1\n  }\n}'),
        ('{\r\n  "a": 1\r\n}', '{\r\n  "a": 1,\r\n  "s": {\r\n    "d": 1\r\n  }\r\n}'),
        ('{"t": "} // no", "s": {"d": [1, {"x": 2}], "z": 3}}', '{"t": "} // no", "s": {"d": 1, "z": 3}}'),
    ],
)
def test_a_member_is_put_in_the_style_of_the_file(text: str, wanted: str) -> None:
    assert put_member(text, ("s", "d"), 1) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"s": {"d": 1}}', '{"s": {}}'),
        ('{"s": {"d": 1, "z": 2}}', '{"s": {"z": 2}}'),
        ('{"s": {"a": 0, "d": 1}}', '{"s": {"a": 0}}'),
        (
            '{\n  "s": {\n    "a": 0, // zero\n    "d": {\n      "x": 1\n    }\n  }\n}',
            '{\n  "s": {\n    "a": 0 // zero\n  }\n}',
        ),
        ('{\n  "s": {\n    "d": 1,\n    // z\n    "z": 2\n  }\n}', '{\n  "s": {\n    // z\n    "z": 2\n  }\n}'),
        ('{\n  "s": {\n    "d": 1,\n  }\n}', '{\n  "s": {}\n}'),
        ('{\n  "s": {\n    "d": 1 // mine\n  }\n}', '{\n  "s": { // mine\n  }\n}'),
    ],
)  # fmt: skip
def test_a_member_goes_with_its_line(text: str, wanted: str) -> None:
    found = remove_member(text, ("s", "d"))
    assert read_json(found)["s"] == read_json(wanted)["s"]
    assert found.replace(" ", "") == wanted.replace(" ", "")


@given(data=OBJECTS, block=OBJECTS, name=st.text(max_size=6), value=VALUES, indent=st.sampled_from([None, 1, 4, "\t"]))
def test_any_object_says_what_was_wanted_and_is_whole_again_without_it(
    data: dict[str, Any], block: dict[str, Any], name: str, value: Any, indent: Any
) -> None:
    block.pop(name, None)
    before = {**data, "block": block}
    text = json.dumps(before, indent=indent)
    new = put_member(text, ("block", name), value)
    assert json.loads(new) == {**before, "block": {**block, name: value}}
    assert remove_member(new, ("block", name)) == text
    assert json.loads(remove_member(new, ("block",))) == {key: item for key, item in before.items() if key != "block"}
