"""Other servers' entries, from clients' files into our config, and out of the clients' files when they should move.

Owns names, clashes and what is reported. Refuses to own: spellings (`entries`) and places (`table`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mcp_dualtune.clients.changes import Change, read_text, split_mark
from mcp_dualtune.clients.document import Document
from mcp_dualtune.clients.entries import is_ours, take
from mcp_dualtune.clients.table import CLIENTS
from mcp_dualtune.config.reader import SERVER_BLOCKS
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.types import NONE

Action = Literal["added", "renamed", "present", "skipped"]


@dataclass(frozen=True)
class Source:
    """One block of servers in one file."""

    label: str
    """The client's name, or the file's."""
    document: Document
    url_is_sse: bool = False
    folder: Path | None = None
    """The project's folder, for a project's servers."""


@dataclass(frozen=True)
class Outcome:
    """What became of one server."""

    source: str
    file: Path
    name: str
    action: Action
    as_name: str | None
    """Its name in our config."""
    notes: tuple[str, ...] = ()


def source_of(file: Path) -> Source:
    """Any file with servers, its spelling told by its ending and its keys.

    Raises:
        ConfigError: there is no such file, it cannot be read, or there is no block of servers in it.
    """
    text = read_text(file)
    if text is None:
        raise ConfigError(f"There is no file {file}.", hint="Name a client's config file, or a client with --client.")
    _, text = split_mark(text)
    for ending, name in (((".toml",), "codex"), ((".yaml", ".yml"), "goose")):
        if file.suffix.lower() in ending:
            return Source(file.name, Document(file, text, CLIENTS[name].format, (CLIENTS[name].block,)))
    for block in SERVER_BLOCKS:
        document = Document(file, text, "json", (block,))
        if document.has_block:
            return Source(file.name, document)
    raise ConfigError(f"{file} lists no servers.", hint=f"Looked for {', '.join(SERVER_BLOCKS)}.")


def collect(sources: Iterable[Source], target: Document) -> tuple[str, list[Outcome]]:
    """The text of `target` (our config) with the servers of all sources, and what became of each.

    Raises:
        ConfigError: a file cannot be read, or nothing can be added to ours.
    """
    outcomes: list[Outcome] = []
    for source in sources:
        for name, entry in source.document.servers.items():
            outcome, target = _add(source, name, entry, target)
            outcomes.append(outcome)
    return target.text, outcomes


def _add(source: Source, name: str, entry: Any, target: Document) -> tuple[Outcome, Document]:
    if is_ours(name, entry):
        return Outcome(source.label, source.document.file, name, "skipped", None, ("it is this gateway",)), target
    taken = take(name, entry, url_is_sse=source.url_is_sse, folder=source.folder)
    if taken.entry is None:
        return Outcome(source.label, source.document.file, name, "skipped", None, taken.notes), target
    as_name = _free_name(name, source.label, taken.entry, target.servers)
    action: Action = "added" if as_name == name else "renamed"
    if target.servers.get(as_name) == taken.entry:
        return Outcome(source.label, source.document.file, name, "present", as_name), target
    target = replace(target, text=target.with_entry(as_name, taken.entry))
    return Outcome(source.label, source.document.file, name, action, as_name, taken.notes), target


def _free_name(name: str, label: str, entry: Mapping[str, Any], servers: Mapping[str, Any]) -> str:
    """`name`, or the same with the client's name and a number: the first that is free, or this very server."""
    wanted = [name] if name.strip() and name != NONE else []
    names = [*wanted, f"{name.strip()}-{label}", *(f"{name.strip()}-{label}-{number}" for number in range(2, 1000))]
    return next(name for name in names if name not in servers or servers[name] == entry)


def move_out(source: Source, outcomes: Iterable[Outcome]) -> Change:
    """The change of a client's file that takes out what our config has now; a copy of the file stays beside it.

    Raises:
        ConfigError: an entry cannot be taken out.
    """
    before = read_text(source.document.file)
    mark, text = split_mark(before or "")
    document = replace(source.document, text=text)
    for outcome in outcomes:
        if outcome.file == document.file and outcome.as_name is not None:
            document = replace(document, text=document.without_entry(outcome.name))
    return Change(document.file, before, mark + document.text, free_backup(document.file))


def free_backup(file: Path) -> Path:
    """A name beside `file` that no backup has yet."""
    names = (file.with_name(f"{file.name}.before-import{'' if n == 1 else f'-{n}'}") for n in range(1, 1000))
    return next(name for name in names if not name.exists())
