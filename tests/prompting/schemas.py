"""Hypothesis strategies: an input schema together with arguments that fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

TRICKY = (
    '<|ask|>', '<|end|>', '<|im_end|>', 'x":<|skip|>, "', '{"a":<|ask|>}', 'C:\\Users\\"sam"\\', "  two spaces",
    "a\n\tb", "Grüße 日本語 🙂", "\\", '"', "", " ", "null", "12", "it's, ok: {yes}", "\x7f\u2028",
)  # fmt: skip
STRINGS = st.sampled_from(TRICKY) | st.text('ab Z9é日🙂"\\\n\t\x00{}[]<|>:,/', max_size=10)
NAMES = st.sampled_from(
    ("path", "repo_path", "maxResults", 'quo"ted', "back\\", "Größe", "two words", "a:b", "🙂", "x-1")
) | st.text("abcXY_-1é", min_size=1, max_size=6)
Part = tuple[dict[str, Any], st.SearchStrategy[Any]]


@dataclass(frozen=True)
class Sample:
    """A schema, arguments that fit it, and the required parameters that are missing from them."""

    schema: Mapping[str, Any]
    arguments: Mapping[str, Any]
    missing: tuple[str, ...]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    made = {name: draw(PARTS) for name in names}
    required = [name for name in names if draw(st.booleans())]
    missing = tuple(name for name in required if draw(st.booleans()))
    given_names = [n for n in names if n not in missing and (n in required or draw(st.booleans()))]
    schema = {"type": "object", "properties": {n: part for n, (part, _) in made.items()}, "required": required}
    return Sample(schema, {name: draw(made[name][1]) for name in given_names}, missing)


def parts(depth: int) -> st.SearchStrategy[Part]:
    """(schema, strategy of values that fit it)."""
    flat = st.one_of(
        st.sampled_from([{"type": "string"}, {"type": "string", "maxLength": 500}, {"type": ["string"]}]).map(
            lambda schema: (schema, STRINGS.filter(lambda text: text != "<|ask|>"))
        ),
        # Markers as names or options of a schema are left out: forced text is tokenised with them as special tokens.
        st.lists(STRINGS.filter(lambda text: "<|" not in text), min_size=1, max_size=4, unique=True).map(
            lambda values: ({"type": "string", "enum": values}, st.sampled_from(values))
        ),
        st.just(({"const": "fixed"}, st.just("fixed"))),
        st.just(({"enum": [1, "one", None, True]}, st.sampled_from([1, "one", None, True]))),
        st.just(({"type": "integer", "minimum": -5, "maximum": 1200}, st.integers(-5, 1200))),
        st.just(({"type": "integer"}, st.integers(-(10**12), 10**12))),
        st.just(({"type": "number"}, st.floats(-1e6, 1e6, width=32) | st.integers(-99, 99))),
        st.just(({"type": "boolean"}, st.booleans())),
        st.just(({"anyOf": [{"type": "string"}, {"type": "null"}]}, st.none() | st.just("text"))),
        st.just(({"type": ["integer", "null"]}, st.none() | st.integers(0, 9))),
        st.just(({}, st.integers() | st.booleans() | st.just("any text"))),
        st.just(({"type": "object"}, st.dictionaries(st.just("free"), st.integers(0, 9)))),
        st.just(
            (
                {"type": "object", "additionalProperties": {"type": "integer"}},
                st.dictionaries(STRINGS, st.integers(0, 99), max_size=3),
            )
        ),
    )
    if depth == 0:
        return flat
    return flat | parts(depth - 1).map(_list_of) | st.dictionaries(NAMES, parts(depth - 1), max_size=3).map(_object_of)


def _list_of(part: Part) -> Part:
    schema, values = part
    return {"type": "array", "items": schema}, st.lists(values, max_size=3)


def _object_of(inner: dict[str, Part]) -> Part:
    schema = {"type": "object", "properties": {name: part for name, (part, _) in inner.items()}}
    values = st.fixed_dictionaries({}, optional={name: value for name, (_, value) in inner.items()})
    # Constrained decoding writes nested objects in schema order.
    return schema, values.map(lambda made: {name: made[name] for name in inner if name in made})


PARTS = parts(2)
