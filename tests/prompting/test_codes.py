"""Codes for languages, countries and currencies, and which parameters take them."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.prompting.codes import called, code_format, code_of, said_code
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.prompting.slots import tool_slots
from mcp_dualtune.types import Request, ToolSpec
from tests.tiny_models import tiny_pieces


def tool(**properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": {n: {"type": "string", **p} for n, p in properties.items()}}
    return ToolSpec("media", "subtitle", "Adds subtitles", schema, "f" * 64)


@pytest.mark.parametrize(
    ("name", "schema", "form"),
    [
        ("language", {"description": "ISO 639-1 code of the subtitles"}, "language-code"),
        ("languageCode", {}, "language-code"),
        ("lang", {"description": "Wikipedia to search (en, de, fr)"}, "language-code"),
        ("target_lang", {"description": "e.g. 'EN' or 'PT'"}, "LANGUAGE-CODE"),
        ("locale", {"description": "Of the answer", "default": "en"}, "language-code"),
        ("base_currency", {"description": "Three-letter code"}, "CURRENCY-CODE"),
        ("vs_currency", {"description": "What prices are in (default: usd)"}, "currency-code"),
        ("country", {"description": "Where it is", "examples": ["DE", "US"]}, "COUNTRY-CODE"),
        ("language", {"description": "Language of the code snippet"}, None),
        ("language", {"description": "Programming language, e.g. go"}, None),
        ("locale", {"description": "Such as en-US"}, None),
        ("locale", {"description": "BCP-47 tag, such as en-US"}, "language-code"),
        ("language", {"description": "Name of the language"}, None),
        ("country", {"description": "The customer's country, if any"}, None),
        ("title", {"description": "ISO code of the film"}, None),
    ],
)
def test_a_parameter_that_takes_codes_says_so(name: str, schema: dict[str, Any], form: str | None) -> None:
    assert code_format(name, schema) == form


@pytest.mark.parametrize(
    ("said", "form", "code"),
    [
        ("German", "language-code", "de"),
        ("mandarin", "LANGUAGE-CODE", "ZH"),
        ("EN", "language-code", "en"),
        ("Klingon", "language-code", "Klingon"),
        ("Brazil", "COUNTRY-CODE", "BR"),
        ("the Netherlands", "country-code", "nl"),
        ("Swiss francs", "CURRENCY-CODE", "CHF"),
        ("euros", "currency-code", "eur"),
    ],
)
def test_what_people_name_has_a_code(said: str, form: str, code: str) -> None:
    assert code_of(said, form) == code


def test_the_one_name_in_a_text_is_said() -> None:
    assert said_code("add Spanish subtitles to it, is that fine", "language-code") == "es"
    assert said_code("from English to Spanish", "language-code") is None
    assert said_code("add subtitles to it", "language-code") is None
    assert said_code("in New Zealand", "COUNTRY-CODE") == "NZ"


def test_options_that_are_codes_have_names() -> None:
    assert called("subtitle language", "DE") == ("german",)
    assert called("format", "de") == ()


def test_a_code_is_found_where_its_name_stands() -> None:
    template = ReadingTemplate(tiny_pieces())
    shown = tool(language={"description": "ISO 639-1 code"}, title={})
    (page,) = template.pages(Request("add spanish titles"), shown, tool_slots(shown, ["language", "title"]), {})
    (span,) = page.find(0, "es")
    assert page.value(0, span) == "es"
    assert page.value(1, span) == "spanish"
