"""Listed folders with whole paths, as the next call needs them."""

from __future__ import annotations

import pytest

from mcp_dualtune.pipeline.provenance import trace_sources
from mcp_dualtune.prompting.listings import with_folders
from mcp_dualtune.types import HistoryItem, Provenance, Request, ToolCall


def listed(result: str, **arguments: object) -> HistoryItem:
    return HistoryItem(ToolCall("files", "list_directory", arguments), result)


@pytest.mark.parametrize(
    ("folder", "result", "shown"),
    [
        ("/srv/data", "[FILE] a b.csv\n[DIR] old", "[FILE] /srv/data/a b.csv\n[DIR] /srv/data/old"),
        ("~/notes/", "[FILE] todo.md", "[FILE] ~/notes/todo.md"),
        ("C:\\work", "[DIR] src", "[DIR] C:\\work\\src"),
        (
            "/srv", "[FILE] dump.sql           1.20 GB\n[DIR] old\n\nTotal: 1 files, 1 directories",
            "[FILE] /srv/dump.sql           1.20 GB\n[DIR] /srv/old\n\nTotal: 1 files, 1 directories",
        ),
        ("/srv/data", "nothing here", "nothing here"),
    ],
)  # fmt: skip
def test_entries_become_whole_paths(folder: str, result: str, shown: str) -> None:
    assert with_folders(listed(result, path=folder)) == shown


def test_without_a_folder_a_result_stays_as_it_is() -> None:
    assert with_folders(listed("[FILE] a.md", root=3)) == "[FILE] a.md"


def test_a_whole_path_comes_from_the_step_that_listed_its_folder() -> None:
    request = Request("read it", (listed("[FILE] a.md", path="/srv"),))
    found = trace_sources({"path": "/srv/a.md"}, {"properties": {"path": {"type": "string"}}}, request, {}, {})
    assert found == {"path": Provenance("history", step=0)}
