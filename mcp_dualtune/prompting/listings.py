"""Folders as file servers list them, with whole paths: the next call needs these, and a list has names alone."""

from __future__ import annotations

import re

from mcp_dualtune.types import HistoryItem

ENTRY = re.compile(r"^(?P<kind>\[(?:FILE|DIR)\] )(?P<name>\S.*?)(?=[ \t]{2,}\d|[ \t]*$)", re.MULTILINE)
"""A line of the official filesystem server: `[FILE] notes.md`, with sizes `[FILE] notes.md      1.2 KB`."""


def with_folders(item: HistoryItem) -> str:
    """The result of an earlier call; entries of the folder that it listed are whole paths."""
    folder = item.call.arguments.get("path")
    if not isinstance(folder, str) or not folder:
        return item.result
    mark = "\\" if "\\" in folder and "/" not in folder else "/"
    start = folder if folder.endswith(("/", "\\")) else folder + mark
    return ENTRY.sub(lambda entry: f"{entry['kind']}{start}{entry['name']}", item.result)
