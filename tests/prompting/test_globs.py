"""Glob patterns for what people call files, and which parameters take them."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.prompting.globs import glob_format, glob_of
from mcp_dualtune.prompting.reading import ReadingTemplate
from mcp_dualtune.prompting.slots import tool_slots
from mcp_dualtune.types import Request, ToolSpec
from tests.tiny_models import tiny_pieces

SEARCH = "Search files by glob patterns; '*.ext' matches in the folder itself, '**/*.ext' in all folders below."


def tool(description: str, **properties: Any) -> ToolSpec:
    return ToolSpec("files", "search", description, {"type": "object", "properties": properties}, "f" * 64)


@pytest.mark.parametrize(
    ("said", "before", "pattern"),
    [
        ("python files", "", "**/*.py"),
        ("the markdown", "", "**/*.md"),
        ("PDFs", "", "**/*.pdf"),
        (".woff2", "", "**/*.woff2"),
        ("spreadsheets (xlsx)", "", "**/*.xlsx"),
        ("word documents", "", "**/*.docx"),
        ("python tutorial", "", "**/*python tutorial*"),
        ("invoice", "whatever has ", "**/*invoice*"),
        ("IMG_", "file names starting with ", "**/IMG_*"),
        ("_old", "names that end in '", "**/*_old"),
        ("setup.cfg", "", "**/setup.cfg"),
        (".env", "every ", "**/.env"),
        ("*.log", "", "*.log"),
        ("src/**/*.ts", "", "src/**/*.ts"),
    ],
)
def test_words_become_a_pattern_and_patterns_stay(said: str, before: str, pattern: str) -> None:
    assert glob_of(said, before, "deep-glob") == pattern
    assert glob_of(said, before, "glob") == pattern.removeprefix("**/")


@pytest.mark.parametrize(
    ("description", "name", "form"),
    [
        (SEARCH, "pattern", "deep-glob"),
        ("Finds files. Takes glob patterns like *.txt.", "file_patterns", "glob"),
        (SEARCH, "excludePatterns", None),
        (SEARCH, "path", None),
        ("Search the text of files by a regular expression.", "pattern", None),
    ],
)
def test_only_what_is_looked_for_takes_patterns(description: str, name: str, form: str | None) -> None:
    assert glob_format(tool(description, **{name: {"type": "string"}}), name) == form


def test_the_words_for_a_pattern_are_found_on_a_page() -> None:
    search = tool(SEARCH, pattern={"type": "string"})
    request = Request("find python files in src")
    page = ReadingTemplate(tiny_pieces()).pages(request, search, tool_slots(search, ["pattern"]), {})[0]
    spans = page.find(0, "**/*.py")
    assert spans
    assert {page.value(0, span) for span in spans} == {"**/*.py"}
