"""Our own entry in a client's config: putting it in, and taking exactly that out again.

Owns what `install` and its undoing mean for one file. Refuses to own: the client's formats and places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp_dualtune.clients.changes import Change, read_text, split_mark
from mcp_dualtune.clients.document import Document
from mcp_dualtune.clients.table import Client

NAME = "dualtune"
"""The name of our entry in every client."""
_HOW = frozenset({"type", "command", "cmd", "args", "url", "serverUrl", "httpUrl", "uri", "headers"})
"""Keys that say how a server is reached; the user's own (such as `disabled` or `timeout`) are kept."""


def open_document(file: Path, client: Client) -> Document:
    """A client's file; an empty document when it does not exist.

    Raises:
        ConfigError: it cannot be read as bytes or as UTF-8.
    """
    _, text = split_mark(read_text(file) or "")
    return Document(file, text, client.format, (client.block,))


def backup_of(file: Path) -> Path:
    """Where the file as it was before our entry is kept."""
    return file.with_name(f"{file.name}.before-{NAME}")


def install(file: Path, client: Client, entry: Mapping[str, Any]) -> Change:
    """Put our entry in; what the user set in an entry of ours stays.

    Raises:
        ConfigError: the file cannot be read, or the entry cannot be put in.
    """
    before = read_text(file)
    mark, _ = split_mark(before or "")
    document = open_document(file, client)
    present = document.servers.get(NAME)
    old = present if isinstance(present, dict) else {}
    kept = {key: value for key, value in old.items() if key in entry or key not in _HOW}
    how = {key: value for key, value in entry.items() if key in _HOW or key not in kept}
    after = mark + document.with_entry(NAME, {**kept, **how})
    # A backup that lies there is the older one while our entry is in the file, and a leftover when it is not.
    backup = backup_of(file)
    keep_older = present is not None and backup.exists()
    return Change(file, before, after, None if keep_older or before is None else backup)


def uninstall(file: Path, client: Client) -> Change:
    """Take our entry out: the bytes from before when nothing else was changed since, else everything but our entry.

    Raises:
        ConfigError: the file cannot be read, or the entry cannot be taken out.
    """
    before, backup = read_text(file), backup_of(file)
    if before is None:
        return Change(file, None, None)
    document = open_document(file, client)
    entry = document.servers.get(NAME)
    if entry is None:
        return Change(file, before, before)
    mark, _ = split_mark(before)
    saved = read_text(backup)
    earlier = replace(document, text=split_mark(saved or "")[1])
    if mark + earlier.with_entry(NAME, entry) == before:
        # The same text comes out of the older file (or of none), so nothing was changed but by us.
        return Change(file, before, saved, spent=backup)
    previous = earlier.servers.get(NAME)
    if previous is not None:
        after = document.with_entry(NAME, previous)
    else:
        keep_block = saved is None or earlier.has_block
        after = document.without_entry(NAME, keep_block=keep_block)
    return Change(file, before, mark + after, spent=backup)
