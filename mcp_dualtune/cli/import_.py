"""`dualtune import`: take the servers of your clients into this gateway's config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_dualtune.cli.install import NAMES
from mcp_dualtune.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from mcp_dualtune.clients.importing import Outcome, Source
    from mcp_dualtune.clients.machine import Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    parser.add_argument("file", nargs="?", type=Path, help="a file with servers, instead of the clients found")
    parser.add_argument("--client", action="append", choices=NAMES, help="only this client (repeatable)")
    parser.add_argument(
        "--scope", choices=["user", "project"], default="user", help="for all your work, or for the folder you are in"
    )
    parser.add_argument(
        "--remove-from-client", action="store_true", help="move them: take out of the client's file what was taken in"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the changes as diffs, and make none")


def run(args: argparse.Namespace) -> int:
    """Write our config first, then the clients' files, so that no server is ever in neither.

    Raises:
        ConfigError: a file cannot be read or written.
        RequestError: there is nothing to take servers from.
    """
    from dataclasses import replace

    from mcp_dualtune.cli import diffs, exits
    from mcp_dualtune.clients import changes, importing
    from mcp_dualtune.clients.document import Document
    from mcp_dualtune.config import default_path, named_path
    from mcp_dualtune.config.reader import SERVER_BLOCKS

    sources = _sources(args)
    file = (named_path(args.config) or default_path()).expanduser()
    if any(source.document.file.resolve() == file.resolve() for source in sources):
        raise ConfigError(f"{file} is the config itself.", hint="Name another one with --config to import into.")
    before = changes.read_text(file)
    mark, text = changes.split_mark(before or "")
    blocks = [Document(file, text, "json", (block,)) for block in SERVER_BLOCKS]
    target = next((document for document in blocks if document.has_block), blocks[0])
    after, outcomes = importing.collect(sources, target)
    own = changes.Change(file, before, before if after == text else mark + after, importing.free_backup(file))
    moved = [importing.move_out(source, outcomes) for source in sources] if args.remove_from_client else []
    todo = [change for change in (own, *moved) if change.changes]
    told: dict[str, Any] = {
        "file": str(file),
        "dry_run": args.dry_run,
        "servers": [_outcome(one) for one in outcomes],
        "changed": [str(change.file) for change in todo],
    }
    if args.dry_run:
        servers = [replace(target, text=after).servers, *(source.document.servers for source in sources)]
        told["diff"] = "".join(diffs.unified(change, *servers) for change in todo)
    else:
        for change in todo:
            changes.write(change)
    if args.json:
        exits.print_json(told)
    else:
        _tell(outcomes, told)
    return exits.DONE


def _sources(args: argparse.Namespace) -> list[Source]:
    """The blocks of servers that the command line names, else those of every client found."""
    from mcp_dualtune.cli.install import here
    from mcp_dualtune.clients.importing import source_of
    from mcp_dualtune.clients.table import CLIENTS

    if args.file is not None:
        if args.client:
            raise RequestError("Both a file and a client were named.", hint="Name one of the two.")
        return [source_of(args.file)]
    machine = here()
    names = args.client or [client.name for client in CLIENTS.values() if client.found(machine, args.scope)]
    sources = [source for name in names for source in _of_client(name, machine, args.scope)]
    if not sources:
        where = f" in {', '.join(names)}" if names else ""
        raise RequestError(f"No config of a client was found{where}.", hint="Name a file with servers.")
    return sources


def _of_client(name: str, machine: Machine, scope: Any) -> list[Source]:
    from dataclasses import replace

    from mcp_dualtune.clients.importing import Source
    from mcp_dualtune.clients.registration import open_document
    from mcp_dualtune.clients.table import CLIENTS

    client = CLIENTS[name]
    folder = machine.project if scope == "project" else None
    documents = [open_document(client.file(machine, scope), client)]
    if name == "claude-code" and scope == "project":
        # What its user added for this folder alone is kept with the user's own settings.
        private = open_document(client.file(machine, "user"), client)
        documents.append(replace(private, block=("projects", str(machine.project), client.block)))
    return [
        Source(name, document, url_is_sse=name == "gemini-cli", folder=folder)
        for document in documents
        if document.file.is_file()
    ]


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "from": one.source, "name": one.name, "action": one.action, "as": one.as_name, "notes": list(one.notes),
    }  # fmt: skip


def _tell(outcomes: list[Outcome], told: dict[str, Any]) -> None:
    """For people: the diff on stdout, what became of each server on stderr."""
    from mcp_dualtune.cli.show import safe

    print(told.get("diff", ""), end="")
    for one in outcomes:
        words = {
            "added": "taken", "renamed": f'taken as "{one.as_name}", as another server has its name',
            "present": "there already", "skipped": "left out",
        }[one.action]  # fmt: skip
        print(safe(f"{one.source}: {one.name}: {words}{''.join(f'; {note}' for note in one.notes)}"), file=sys.stderr)
    if told["dry_run"]:
        return
    for file in told["changed"] or [f"nothing: {told['file']} has them all"]:
        print(f"wrote {file}", file=sys.stderr)
    if told["changed"]:
        print("  `dualtune install --client NAME` lets a client reach them through this gateway.", file=sys.stderr)
