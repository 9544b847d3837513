"""Schemas as servers really write them, and what is said of arguments that do not fit."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_dualtune.catalog.schema import clean_schema, leaf_paths, validate_arguments
from mcp_dualtune.errors import CatalogError

EMPTY = {"type": "object", "properties": {}}


def prop(schema: Any, **defs: Any) -> Any:
    """One property as it comes out of a whole schema."""
    return clean_schema({"type": "object", "properties": {"p": schema}, "$defs": defs})["properties"]["p"]


@pytest.mark.parametrize("raw", [None, {}, True, {"type": "object"}, {"type": "string"}, {"$schema": "x"}])
def test_no_schema_means_no_parameters(raw: Any) -> None:
    assert clean_schema(raw) == EMPTY


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ({"$ref": "#/$defs/A"}, {"type": "string"}),
        ({"$ref": "#/$defs/A", "description": "d"}, {"type": "string", "description": "d"}),
        ({"$ref": "#here"}, {"$anchor": "here", "type": "null"}),
        ({"allOf": [{"$ref": "#/$defs/A"}], "default": "x"}, {"type": "string", "default": "x"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": ["string", "null"]}),
        ({"oneOf": [{"type": "integer", "enum": [1]}, {"type": "null"}]},
         {"type": ["integer", "null"], "enum": [1, None]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"anyOf": [{"type": "integer"}]}, {"type": "integer"}),
        (True, {}),
        (False, {"not": {}}),
        ({"type": "array", "items": [{"type": "string"}], "additionalItems": False},
         {"type": "array", "prefixItems": [{"type": "string"}], "items": False}),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, {"type": "number", "exclusiveMinimum": 1}),
        ({"type": "int"}, {"type": "integer"}),
        ({"type": "any", "description": "d"}, {"description": "d"}),
        ({"type": "string", "format": "vendor", "default": 1}, {"type": "string", "format": "vendor", "default": 1}),
        ({"type": "string", "pattern": "(?<year>\\p{L})"}, {"type": "string"}),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}),
        ({"default": {"$ref": "no reference"}}, {"default": {"$ref": "no reference"}}),
    ],
)  # fmt: skip
def test_a_property_becomes_plain(raw: Any, clean: Any) -> None:
    made = prop(raw, A={"type": "string"}, B={"$anchor": "here", "type": "null"})
    clean = {key: value for key, value in clean.items() if key != "$anchor"}
    assert made == clean


def test_parts_that_belong_together_are_merged() -> None:
    merged = clean_schema(
        {
            "allOf": [
                {"properties": {"a": {"type": "number", "minimum": 1}}, "required": ["a"]},
                {"properties": {"a": {"type": "integer", "minimum": 3}, "b": {}}, "required": ["b"]},
            ]
        }
    )
    assert merged == {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 3}, "b": {}},
        "required": ["a", "b"],
    }


def test_parts_that_do_not_merge_stay_apart() -> None:
    closed = {"properties": {"a": {}}, "additionalProperties": False}
    kept = clean_schema({"properties": {"b": {}}, "allOf": [closed]})
    assert kept["allOf"] == [closed]
    assert validate_arguments(kept, {"b": 1}) == ("`b` is not a parameter",)


def test_a_recursive_reference_ends_with_the_type_of_its_target() -> None:
    node = {"type": "object", "title": "N", "properties": {"child": {"$ref": "#/$defs/Node"}, "x": {"type": "integer"}}}
    tree = prop({"$ref": "#/$defs/Node"}, Node=node)
    assert tree["properties"]["child"] == {"type": "object", "title": "N"}
    assert validate_arguments({"properties": {"p": tree}}, {"p": {"child": {"child": {"x": "any"}}}}) == ()


def test_slips_of_required_are_put_right() -> None:
    inside = {"type": "object", "properties": {"a": {"type": "string", "required": True}, "b": {"required": False}}}
    assert clean_schema(inside) == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {}},
        "required": ["a"],
    }
    among = {"type": "object", "properties": {"a": {}, "required": ["a"]}}
    assert clean_schema(among) == {"type": "object", "properties": {"a": {}}, "required": ["a"]}


@pytest.mark.parametrize(
    "raw",
    [
        "what?",
        {"type": 3},
        {"type": ["object", 3]},
        {"properties": []},
        {"properties": {"a": "string"}},
        {"properties": {"a": {"type": "strin"}}},
        {"properties": {"a": {"enum": "x"}}},
        {"properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"anyOf": {}},
        {"required": "a"},
    ],
)
def test_an_unusable_schema_is_refused(raw: Any) -> None:
    with pytest.raises(CatalogError) as caught:
        clean_schema(raw)
    assert caught.value.hint


def test_a_schema_that_grows_without_end_is_refused() -> None:
    defs = {
        f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "abcdefgh"}}
        for i in range(9)
    }
    with pytest.raises(CatalogError, match="too large"):
        clean_schema({"properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": {**defs, "d9": {}}})
    deep: Any = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(CatalogError, match="too large"):
        clean_schema({"properties": {"p": deep}})


def test_whatever_comes_is_cleaned_into_a_valid_schema_or_refused() -> None:
    """Random junk made of schema keywords: no other exception, and what comes out is a valid object schema."""
    rng = random.Random(1)
    words = ["type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "default",
             "pattern", "patternProperties", "additionalProperties", "dependencies", "$defs", "not", "minimum",
             "exclusiveMinimum", "nullable", "prefixItems", "additionalItems", "definitions", "x"]  # fmt: skip
    atoms = ["string", "object", "null", "#/$defs/x", "#", "int", "(", 0, 1.5, True, False, None, [], {}]

    def junk(depth: int) -> Any:
        kind = rng.random()
        if depth == 0 or kind < 0.35:
            return rng.choice(atoms)
        if kind < 0.55:
            return [junk(depth - 1) for _ in range(rng.randint(0, 3))]
        return {rng.choice(words): junk(depth - 1) for _ in range(rng.randint(0, 4))}

    outcomes = {"clean": 0, "refused": 0}
    for _ in range(3000):
        raw = {"type": "object", **{rng.choice(words): junk(4) for _ in range(3)}}
        before = json.dumps(raw)
        try:
            made = clean_schema(raw)
        except CatalogError:
            outcomes["refused"] += 1
        else:
            Draft202012Validator.check_schema(made)
            assert made["type"] == "object" and isinstance(made["properties"], dict)
            assert (
                '"$ref": "#' not in json.dumps(made.get("properties")).replace('"default": "#', "") or "const" in before
            )
            validate_arguments(made, {"x": 1, "type": [None]})
            outcomes["clean"] += 1
        assert json.dumps(raw) == before, "the server's own schema was changed"
    assert min(outcomes.values()) > 100, outcomes


SCHEMA = clean_schema(
    {
        "type": "object",
        "properties": {
            "path": {"type": "string", "minLength": 2},
            "mode": {"enum": ["read", "write"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "when": {"type": ["string", "null"]},
            "edits": {"type": "array", "items": {"properties": {"n": {"type": "integer"}}, "required": ["n"]}},
            "either": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        },
        "required": ["path"],
        "additionalProperties": False,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({"path": "ab", "when": None, "count": 3.0}, ()),
        ({}, ("`path` is missing",)),
        ({"path": 3}, ("`path` should be text, but is 3",)),
        ({"path": "a"}, ('`path` should have at least 2 characters, but is "a"',)),
        ({"path": "ab", "mode": "x"}, ('`mode` should be one of "read", "write", but is "x"',)),
        ({"path": "ab", "count": 0}, ("`count` should be at least 1, but is 0",)),
        ({"path": "ab", "count": "3"}, ('`count` should be a whole number, but is "3"',)),
        ({"path": "ab", "when": 1}, ("`when` should be text or null, but is 1",)),
        ({"path": "ab", "pth": 1}, ("`pth` is not a parameter; did you mean `path`?",)),
        ({"path": "ab", "edits": [{"n": 1}, {}]}, ("`edits[1].n` is missing",)),
        (
            {"path": "ab", "either": "x"},
            ('`either` fits none of the allowed forms: `either` should be a whole number, but is "x", '
             'or `either` should be true or false, but is "x"',),
        ),
    ],
)  # fmt: skip
def test_a_problem_is_said_in_plain_words(arguments: dict[str, Any], messages: tuple[str, ...]) -> None:
    assert validate_arguments(SCHEMA, arguments) == messages


def test_messages_do_not_repeat_whole_documents() -> None:
    (message,) = validate_arguments(SCHEMA, {"path": ["x" * 10_000]})
    assert len(message) < 150


def test_leaves_carry_the_way_to_them() -> None:
    value = {"path": "a", "edits": [{"newText": "x", "n": None}, []], "odd key": {"a.b": {}}}
    assert leaf_paths(value) == (
        ("path", "a"),
        ("edits[0].newText", "x"),
        ("edits[0].n", None),
        ("edits[1]", []),
        ('["odd key"]["a.b"]', {}),
    )
    assert leaf_paths({}) == ()


@pytest.mark.parametrize(
    "part",
    [
        {"properties": {"path": {"type": "string", "pattern": "^(a|a)*(a|aa)+$"}}},
        {"patternProperties": {"^(a|a)*(a|aa)+$": {"type": "string"}}},
        {"patternProperties": {f"^(a|a)*(a|aa)+{n}$": {} for n in range(200)}, "additionalProperties": False},
        {"patternProperties": {"^(a|a)*(a|aa)+$": {}}, "unevaluatedProperties": False},
    ],
)
def test_a_pattern_that_never_ends_costs_seconds_at_most(part: dict[str, Any]) -> None:
    schema = clean_schema({"type": "object", **part})
    began = time.process_time()
    validate_arguments(schema, {"path": "a" * 50 + "!", "a" * 50 + "!": 1})
    assert time.process_time() - began < 10


def test_patterns_still_decide_what_fits() -> None:
    schema = clean_schema(
        {
            "type": "object",
            "properties": {"day": {"type": "string", "pattern": "^\\d{4}-\\d\\d$"}},
            "patternProperties": {"^x-": {"type": "integer"}},
            "additionalProperties": False,
        }
    )
    assert validate_arguments(schema, {"day": "2026-03", "x-n": 1}) == ()
    assert "pattern" in validate_arguments(schema, {"day": "March"})[0]
    assert "`x-n` should be a whole number" in validate_arguments(schema, {"x-n": "1"})[0]
    assert validate_arguments(schema, {"dya": "2026-03"}) == ("`dya` is not a parameter; did you mean `day`?",)
    others = clean_schema({"type": "object", "additionalProperties": {"type": "string"}})
    assert validate_arguments(others, {"a": "b"}) == () and validate_arguments(others, {"a": 1})
