"""What descriptions say of parameters: found whatever the style, and nothing where nothing is said."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mcp_dualtune.catalog.catalog import build_tool
from mcp_dualtune.catalog.docstrings import LONGEST, explained


def schema(*names: str, **parts: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**{name: {"type": "string"} for name in names}, **parts}}


def texts(description: str, *names: str) -> dict[str, str]:
    properties: Any = explained(schema(*names), description)["properties"]
    return {name: part["description"] for name, part in properties.items() if "description" in part}


PLOT = "Number of the plot, counted from the gate on"
GOOGLE = """Plant a tree.

        Args:
            species (str): The Latin name
            plot: Number of the plot, counted from the
                gate on
            by: Who plants it

        Returns:
            plot: not about the parameter
        """


@pytest.mark.parametrize(
    "description",
    [
        GOOGLE,
        "\n".join(line.strip() for line in GOOGLE.splitlines()).replace("the\ngate", "the gate"),
        f"Plant a tree.\n\n- `species` - The Latin name\n- **plot**: {PLOT}\n* by: Who plants it",
        f":param species: The Latin name\n:param int plot: {PLOT}\n:param by: Who plants it",
        f"Parameters\n---\nspecies : str\n    The Latin name\nplot : int\n    {PLOT}\nby :\n    Who plants it",
    ],
)
def test_every_style_of_docstring(description: str) -> None:
    found = texts(description, "species", "plot", "by")
    assert found["species"].endswith("The Latin name")
    assert found["plot"].endswith(PLOT)
    assert found["by"] == "Who plants it"


def test_a_sentence_about_a_parameter() -> None:
    text = (
        "Draw it. kind: 'both', e.g. Both of them. Zoom with start/end; save_to keeps a copy. Set `deep` to look below."
    )
    assert texts(text, "kind", "start", "save_to", "deep", "end") == {
        "kind": "'both', e.g. Both of them.",
        "save_to": "save_to keeps a copy.",
        "deep": "Set `deep` to look below.",
    }


def test_a_parameter_ends_where_the_next_begins() -> None:
    found = texts("Hear it.\n  tongue: the language. hints: names to expect.", "tongue", "hints")
    assert found == {"tongue": "the language.", "hints": "names to expect."}


def test_what_the_schema_says_stays_and_the_schema_is_not_changed() -> None:
    raw = schema("a", b={"type": "string", "description": "own"})
    assert explained(raw, "Args:\n  a: first\n  b: second")["properties"] == {
        "a": {"type": "string", "description": "first"},
        "b": {"type": "string", "description": "own"},
    }
    assert raw == schema("a", b={"type": "string", "description": "own"})
    assert explained({"type": "object"}, "a: b") == {"type": "object"}
    assert texts("Reads a path to the end.", "path", "end") == {}


def test_long_texts_are_cut_and_odd_names_do_no_harm() -> None:
    assert len(texts("a[0]: " + "word " * 200, "a[0]")["a[0]"]) <= LONGEST
    assert texts("(: odd", "(") == {"(": "odd"}


@pytest.mark.parametrize("text", ["a: ", "- ", " ", "a ", "`a`. ", "a\\n", "(a", "\\n\\n", ":param "])
def test_odd_descriptions_take_no_time(text: str) -> None:
    began = time.process_time()
    texts(text * 100_000, *(f"{letter}_{number}" for letter in "abc" for number in range(50)), "a")
    assert time.process_time() - began < 3


def test_a_tool_of_the_catalog_is_explained() -> None:
    tool = build_tool("s", {"name": "t", "description": "Do.\n\nArgs:\n    x: what", "inputSchema": schema("x")})
    assert tool.input_schema["properties"]["x"]["description"] == "what"
    assert "description" not in tool.wire["inputSchema"]["properties"]["x"]
