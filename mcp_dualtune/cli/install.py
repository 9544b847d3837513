"""`dualtune install`: put this gateway into a client's config, or take it out again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_dualtune.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from mcp_dualtune.clients.machine import Machine
    from mcp_dualtune.clients.table import Client

NAMES = (
    "claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "zed", "lm-studio", "cline", "goose", "gemini-cli",
    "codex",
)  # fmt: skip
"""As in `clients.table`, which is not loaded to answer --help; a test compares them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `install`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--client", action="append", choices=NAMES, help="this client (repeatable)")
    which.add_argument("--all", action="store_true", help="every client that is found on this machine")
    parser.add_argument(
        "--scope", choices=["user", "project"], default="user", help="for all your work, or for the folder you are in"
    )
    parser.add_argument("--undo", action="store_true", help="take out what an earlier `install` put in")
    parser.add_argument("--dry-run", action="store_true", help="show the change as a diff, and make none")


def run(args: argparse.Namespace) -> int:
    """Change the clients' files, one after the other; the exit code is that of the last problem.

    Raises:
        ConfigError: the config to pass on does not exist, or a single client's file cannot be used.
        RequestError: --all finds no client.
    """
    from mcp_dualtune.cli import exits
    from mcp_dualtune.clients.table import CLIENTS

    machine = here()
    chosen = [CLIENTS[name] for name in args.client or NAMES]
    if args.all:
        chosen = [client for client in chosen if client.found(machine, args.scope)]
        if not chosen:
            raise RequestError("No client was found.", hint=f"Name one with --client: {', '.join(NAMES)}.")
    words = [] if args.undo else command(Path(sys.executable))
    passed_on = [] if args.undo else config_words(args.config)
    done, code = [], exits.DONE
    for client in chosen:
        try:
            done.append(_one(client, machine, args, [*words, "serve", *passed_on]))
        except ConfigError as error:
            if not args.all:
                raise
            code = exits.of_error(error)
            done.append({"client": client.name, "action": "failed", "error": str(error)})
    if args.json:
        exits.print_json({"name": "dualtune", "dry_run": args.dry_run, "clients": done})
    else:
        for one in done:
            _tell(one, CLIENTS[one["client"]], args.dry_run)
    return code


def _one(client: Client, machine: Machine, args: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Change one client's file, and say what was done."""
    from mcp_dualtune.cli import diffs
    from mcp_dualtune.clients import changes, registration

    file = client.file(machine, args.scope)
    if args.undo:
        change = registration.uninstall(file, client)
        action = "restored" if change.changes and change.spent is not None else "absent"
    else:
        change = registration.install(file, client, client.entry(words[0], words[1:]))
        action = "unchanged" if not change.changes else "added" if change.before is None else "changed"
    told: dict[str, Any] = {"client": client.name, "scope": args.scope, "file": str(file), "action": action}
    if args.dry_run:
        servers = registration.open_document(file, client).servers
        return {**told, "diff": diffs.unified(change, servers)}
    changes.write(change)
    backup = change.backup if change.changes and change.before is not None else None
    return {**told, "backup": None if backup is None else str(backup)}


def _tell(one: Mapping[str, Any], client: Client, dry_run: bool) -> None:
    """One client's outcome for people: diffs on stdout, the rest on stderr."""
    if one["action"] == "failed":
        print(f"{client.title}: {one['error']}", file=sys.stderr)
    elif dry_run:
        print(one["diff"] or f"{client.title}: nothing to change in {one['file']}", end="" if one["diff"] else "\n")
    else:
        words = {
            "added": "wrote", "changed": "put in", "unchanged": "is in already:", "restored": "taken out of",
            "absent": "is not in",
        }  # fmt: skip
        print(f"{client.title}: {words[one['action']]} {one['file']}", file=sys.stderr)
        if one["backup"]:
            print(f"  as it was before: {one['backup']}", file=sys.stderr)
        if one["action"] in ("added", "changed", "restored"):
            print(f"  {client.refresh}", file=sys.stderr)


def here() -> Machine:
    """The machine that this process runs on."""
    from mcp_dualtune.clients.machine import Machine

    return Machine(sys.platform, Path.home(), Path.cwd(), os.environ)


def command(python: Path) -> list[str]:
    """How hosts start us: absolute, as they know no PATH of a shell; the script beside `python`, else the module.

    Raises:
        ConfigError: this environment will not last.
    """
    if "archive-v0" in python.parts:
        # uvx runs programs in its cache, which it empties when it likes.
        hint = "Install it for good first: `uv tool install mcp-dualtune`, then `dualtune install` again."
        raise ConfigError(f"{python} lies in a cache, so clients would lose it one day.", hint=hint)
    for name in ("dualtune", "dualtune.exe"):
        script = python.absolute().with_name(name)
        if script.is_file():
            return [str(script)]
    return [str(python.absolute()), "-m", "mcp_dualtune"]


def config_words(path: Path | None) -> list[str]:
    """The option that passes the config on: hosts know neither our folder nor our variables.

    Raises:
        ConfigError: there is no such file.
    """
    from mcp_dualtune.config import named_path

    named = named_path(path)
    if named is None:
        return []
    file = named.expanduser().absolute()
    if not file.is_file():
        raise ConfigError(f"There is no config {file}.", hint="Write it first, or make it with `dualtune import`.")
    return ["--config", str(file)]
