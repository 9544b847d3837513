"""Schemas that servers really send become grammars; what cannot be enforced is left to the check afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.catalog.schema import clean_schema
from mcp_dualtune.engine.grammar import GrammarCompiler
from mcp_dualtune.errors import GrammarError
from mcp_dualtune.prompting.answer import Filled, Plain
from mcp_dualtune.prompting.decodable import decodable

TREE = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
        }
    },
}
HARD: dict[str, Any] = {
    "format nobody knows": {"type": "string", "format": "path"},
    "known format": {"type": "string", "format": "date"},
    "overlapping oneOf": {"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]},
    "not": {"type": "string", "not": {"const": "x"}},
    "never": {"not": {}},
    "true": {},
    "empty enum": {"type": "string", "enum": []},
    "enum of another type": {"type": "string", "enum": [1, 2]},
    "big enum": {"type": "string", "enum": [f"value-{n}" for n in range(400)]},
    "unique items": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    "look-ahead": {"type": "string", "pattern": "^(?!tmp).*$"},
    "back reference": {"type": "string", "pattern": r"(a)\1"},
    "word boundary": {"type": "string", "pattern": r"\bword\b"},
    "escaped backslash": {"type": "string", "pattern": r"^C:\\bin$"},
    "bounds the wrong way round": {"type": "integer", "minimum": 5, "maximum": 3},
    "empty exclusive range": {"type": "integer", "exclusiveMinimum": 0, "maximum": 0},
    "largest float": {"type": "number", "maximum": 1.7976931348623157e308},
    "largest integer": {"type": "integer", "maximum": 9007199254740991},
    "lengths the wrong way round": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 1},
    "free-form object": {"type": "object", "additionalProperties": True},
    "pattern properties": {"type": "object", "patternProperties": {"^(?=a)": {}, "^x-": {"type": "string"}}},
    "condition": {"type": "object", "properties": {"a": {}}, "if": {"required": ["a"]}, "then": {"required": ["b"]}},
    "required but not declared": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
    "their own options": {"type": "string", "x-guidance": {"whitespace_flexible": True}},
}


@pytest.fixture(scope="module")
def compiler(compact: Any) -> GrammarCompiler:
    return GrammarCompiler(compact)


def takes(compiler: GrammarCompiler, tokenizer: Any, schema: dict[str, Any], value: str) -> bool:
    """Whether plain decoding could say `value` for the property `p`."""
    matcher = compiler.matcher(Plain().grammar({"type": "object", "properties": {"p": schema}, "required": ["p"]}, ()))
    try:
        matcher.commit(tokenizer.encode('{"p": ' + value + "}", add_special_tokens=False))
    except GrammarError:
        return False
    return matcher.is_accepting


@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
@pytest.mark.parametrize("name", HARD)
def test_hard_schemas_become_grammars(style: Filled | Plain, name: str, compiler: GrammarCompiler) -> None:
    schema = clean_schema(
        {"type": "object", "properties": {"p": HARD[name], "q": {"type": "string"}}, "required": ["p"]}
    )
    assert len(compiler.matcher(style.grammar(schema, ())).allowed()) >= 1


@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
def test_recursive_schemas_become_grammars(style: Filled | Plain, compiler: GrammarCompiler) -> None:
    assert len(compiler.matcher(style.grammar(clean_schema(TREE), ())).allowed()) >= 1


def test_required_names_that_are_not_declared_do_not_block_the_root(compiler: GrammarCompiler) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "cuts"]}
    for style in (Filled(), Plain()):
        assert len(compiler.matcher(style.grammar(schema, ())).allowed()) >= 1


def test_rules_that_can_be_enforced_are_enforced(compiler: GrammarCompiler, compact: Any) -> None:
    bounded = {"type": "integer", "minimum": 1, "maximum": 10}
    assert takes(compiler, compact, bounded, "10")
    assert not takes(compiler, compact, bounded, "11")
    dated = {"type": "string", "pattern": r"^\d{4}-\d{2}$"}
    assert takes(compiler, compact, dated, '"2025-02"')
    assert not takes(compiler, compact, dated, '"tomorrow"')
    assert not takes(compiler, compact, {"type": "string", "enum": ["asc", "desc"]}, '"up"')


def test_nested_objects_take_only_what_they_declare(compiler: GrammarCompiler, compact: Any) -> None:
    declared = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert takes(compiler, compact, declared, '{"a": 1}')
    assert not takes(compiler, compact, declared, '{"a": 1, "b": 2}')
    assert takes(compiler, compact, {**declared, "additionalProperties": True}, '{"a": 1, "b": 2}')


def test_a_union_beside_properties_may_bring_its_own(compiler: GrammarCompiler, compact: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "anyOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b"]}, {"required": ["a"]}],
    }
    assert takes(compiler, compact, schema, '{"a": 1, "b": 2}')


def test_free_text_loses_its_rules_only_where_a_space_is_added() -> None:
    schema = {"type": "string", "pattern": "^a", "maxLength": 3}
    assert decodable(schema, spaced=True) == {"type": "string"}
    assert decodable(schema, spaced=False) == schema
    listed = {"type": "array", "items": schema}
    assert decodable(listed, spaced=True) == {"type": "array", "items": {"type": "string"}}
