"""The arguments answer: written, constrained and read by the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from mcp_dualtune.engine.grammar import GrammarCompiler
from mcp_dualtune.errors import GrammarError
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.prompting.answer import Filled, Plain
from tests.prompting.schemas import Sample, samples

many = settings(
    max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
PATH = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "head": {"type": "integer", "minimum": 1}},
    "required": ["path"],
}


@pytest.fixture(scope="module")
def compilers(compact: Any, hermes: Any) -> dict[type, tuple[Renderer, GrammarCompiler]]:
    return {
        Filled: (Renderer.for_tokenizer(compact), GrammarCompiler(compact)),
        Plain: (Renderer.for_tokenizer(hermes), GrammarCompiler(hermes)),
    }


def said_in(value: Any) -> tuple[str, ...]:
    """Texts in which all strings of `value` stand: alone, in quotes, between words."""
    if isinstance(value, dict):
        return tuple(text for item in value.values() for text in said_in(item))
    if isinstance(value, list):
        return tuple(text for item in value for text in said_in(item))
    return (value, f'take "{value}" then', f"take {value}, then") if isinstance(value, str) else ()


@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
@given(sample=samples())
@many
def test_what_is_written_is_read_back(style: Filled | Plain, said: bool, sample: Sample) -> None:
    sources = said_in(sample.arguments) if said else ()
    text = style.write(sample.schema, sample.arguments, sample.missing, sources)
    parsed = style.parse(text, sample.schema)
    assert parsed.arguments == sample.arguments
    assert sorted(parsed.missing) == sorted(sample.missing)


@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
@given(sample=samples())
@many
def test_every_training_token_is_allowed_while_decoding(
    style: Filled | Plain, said: bool, compilers: dict[type, tuple[Renderer, GrammarCompiler]], sample: Sample
) -> None:
    """What the model learned token by token must be what it can say under the grammar, and the grammar then ends."""
    renderer, compiler = compilers[type(style)]
    sources = said_in(sample.arguments) if said else ()
    text = style.write(sample.schema, sample.arguments, sample.missing, sources)
    matcher = compiler.matcher(style.grammar(sample.schema, sources))
    tokens = renderer.template.text_answer(text)[:-1]
    for place, token in enumerate(tokens):
        assert token in matcher.allowed().tolist(), (text, place)
        matcher.commit([token])
    assert matcher.is_accepting


def reaches_end(compiler: GrammarCompiler, tokenizer: Any, grammar: str, text: str) -> bool:
    matcher = compiler.matcher(grammar)
    try:
        matcher.commit(tokenizer.encode(text, add_special_tokens=False))
    except GrammarError:
        return False
    return matcher.is_accepting


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"path": " a.md", "head": 10}', True),
        ('{"path": " a.md", "head":<|skip|>}', True),
        ('{"path":<|ask|>, "head":<|skip|>}', True),
        ('{"path":<|skip|>, "head":<|skip|>}', False),
        ('{"path": " a.md", "head":<|ask|>}', False),
        ('{"path": " a.md"}', False),
        ('{"head":<|skip|>, "path": " a.md"}', False),
        ('{"path": 5, "head":<|skip|>}', False),
        ('{"path": " a.md", "head": 0}', False),
        ('{"path": " a.md", "head": "10"}', False),
        ('{"path": " a.md", "head": 10, "tail": 3}', False),
        ('{"path": " a.md", "head": 10} and more', False),
        ('{ "path": " a.md", "head": 10}', False),
    ],
)
def test_filled_grammar_takes_only_complete_answers(compact: Any, compilers: Any, text: str, accepted: bool) -> None:
    assert reaches_end(compilers[Filled][1], compact, Filled().grammar(PATH, ()), text) is accepted


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"path": "a.md", "head": 10}', True),
        ('{"path": "a.md"}', True),
        ('{"path": "<|ask|>"}', True),
        ('{"head": 10}', False),
        ('{"path": 5}', False),
        ('{"path": "a.md", "tail": 3}', False),
        ('{"path": "a.md"} and more', False),
    ],
)
def test_plain_grammar_takes_only_complete_answers(hermes: Any, compilers: Any, text: str, accepted: bool) -> None:
    assert reaches_end(compilers[Plain][1], hermes, Plain().grammar(PATH, ()), text) is accepted


def test_everything_but_values_is_forced(compact: Any, compilers: Any) -> None:
    matcher = compilers[Filled][1].matcher(Filled().grammar(PATH, ()))
    assert compact.decode(matcher.forced()) == '{"path":'
    matcher.commit(compact.encode('{"path": " a"', add_special_tokens=False))
    assert compact.decode(matcher.forced()) == ', "head":'
    matcher.commit(compact.encode(', "head":<|skip|>', add_special_tokens=False))
    assert compact.decode(matcher.forced()) == "}"


def test_forty_parameters_compile_and_force_their_names(compact: Any, compilers: Any) -> None:
    schema = {"type": "object", "properties": {f"parameter_{n}": {"type": "string"} for n in range(40)}}
    matcher = compilers[Filled][1].matcher(Filled().grammar(schema, ()))
    tokens = compact.encode(Filled().write(schema, {}, (), ()), add_special_tokens=False)
    for token in tokens:
        assert token in matcher.allowed().tolist()
        matcher.commit([token])
    assert matcher.is_complete


@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
def test_no_parameters_leave_an_empty_object(style: Filled | Plain, compilers: Any) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    assert style.write(schema, {}, (), ()) == "{}"
    renderer, compiler = compilers[type(style)]
    matcher = compiler.matcher(style.grammar(schema, ()))
    matcher.commit(renderer.template.text_answer("{}")[:-1])
    assert matcher.is_accepting
    assert style.parse("{}", schema).arguments == {}


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("read a.md", "<|copy|> a.md<|copy|>"),
        ('read "a.md"', "<|copy|>a.md<|copy|>"),
        ("a.md please", "<|copy|> a.md<|copy|>"),
        ("is it a.md? or", "<|copy|> a.md<|copy|>"),
        ("read data.md", ' " a.md"'),
        ("read a.mdx", ' " a.md"'),
        ("nothing like it", ' " a.md"'),
        ("a.md and <|copy|>", ' " a.md"'),
    ],
)
def test_a_value_that_stands_in_the_request_is_copied(source: str, written: str) -> None:
    text = Filled().write(PATH, {"path": "a.md"}, (), (source,))
    assert text == '{"path":' + written + ', "head":<|skip|>}'
    assert Filled().parse(text, PATH).arguments == {"path": "a.md"}


def test_a_copy_is_taken_letter_by_letter_from_a_source(compact: Any, compilers: Any) -> None:
    grammar = Filled().grammar(PATH, ("read notes\\old.md, now", "root: C:\\x"))
    template = Renderer.for_tokenizer(compact).template

    def allowed(copied: str) -> bool:
        matcher = compilers[Filled][1].matcher(grammar)
        try:
            matcher.commit(template.text_answer('{"path":<|copy|>' + copied + '<|copy|>, "head":<|skip|>}')[:-1])
        except GrammarError:
            return False
        return matcher.is_accepting

    assert all(map(allowed, (" notes\\old.md", "read notes\\old.md", " C:\\x", "now")))
    assert not any(map(allowed, (" notes", " old.md", " notes\\new.md", "now root", "", " ")))


def test_values_inside_lists_and_objects_are_copied_too() -> None:
    edit = {
        "type": "object",
        "properties": {"old": {"type": "string"}, "new": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    }
    schema = {"type": "object", "properties": {"edits": {"type": "array", "items": edit}}}
    text = Filled().write(schema, {"edits": [{"old": "cat", "new": "dog"}, {"old": "a b"}]}, (), ("cat -> dog",))
    assert text == (
        '{"edits": [{"old":<|copy|> cat<|copy|>, "new":<|copy|> dog<|copy|>}, {"old": " a b", "new":<|skip|>}]}'
    )
    assert Filled().parse(text, schema).arguments == {"edits": [{"old": "cat", "new": "dog"}, {"old": "a b"}]}


@pytest.mark.parametrize("text", ["", "{", '{"path": ', '["a"]', '{"path": "a"} x'])
@pytest.mark.parametrize("style", [Filled(), Plain()], ids=["filled", "plain"])
def test_a_cut_answer_is_an_error_with_a_hint(style: Filled | Plain, text: str) -> None:
    with pytest.raises(GrammarError) as caught:
        style.parse(text, PATH)
    assert caught.value.hint


def test_markers_inside_values_stay_text(compact: Any) -> None:
    template = Renderer.for_tokenizer(compact).template
    text = Filled().write(PATH, {"path": "a<|end|><|ask|>"}, (), ())
    special: Sequence[int] = compact.convert_tokens_to_ids(["<|end|>", "<|ask|>"])
    tokens = template.text_answer(text)
    assert tokens[-1] == special[0]
    assert not set(special) & set(tokens[:-1])
    assert compact.decode(tokens[:-1]) == text


@given(sample=samples())
@many
def test_answer_tokens_are_those_of_the_whole_text(compact: Any, sample: Sample) -> None:
    """Markers are cut out by hand; elsewhere this must not move a token boundary."""
    text = Filled().write(sample.schema, sample.arguments, sample.missing, ())
    inside = str(sample.arguments) + str(sample.schema)
    if "<|" in inside:
        return
    whole = compact.encode(text, add_special_tokens=False)
    assert list(Renderer.for_tokenizer(compact).template.text_answer(text))[:-1] == whole
