"""`dualtune secrets`: put a secret into the system's keyring, remove one, or see what the config refers to."""

from __future__ import annotations

import argparse
import getpass
import sys

ACTIONS = ("set", "list", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, with which entry; the secret itself is never an argument, where other programs could read it."""
    parser.add_argument("action", choices=ACTIONS, help="store, list what the config refers to, or remove")
    parser.add_argument("entry", nargs="?", metavar="SERVICE/NAME", help="the entry, as in ${keyring:SERVICE/NAME}")


def run(args: argparse.Namespace) -> int:
    """Do it; `list` ends with 1 when a reference of the config stands for nothing.

    Raises:
        ConfigError: the config is wrong, or the keyring cannot be used.
        RequestError: the entry or the secret is missing.
    """
    from mcp_dualtune.cli import exits
    from mcp_dualtune.config import os_keyring
    from mcp_dualtune.config.references import entry_name
    from mcp_dualtune.errors import RequestError

    if args.action == "list":
        return _list(args)
    if args.entry is None:
        raise RequestError("Name the entry.", hint=f"For example `dualtune secrets {args.action} mcp-dualtune/github`.")
    service, name = entry_name(args.entry)
    if args.action == "set":
        os_keyring.write_entry(service, name, _secret(args.entry))
        done = True
    else:
        done = os_keyring.remove_entry(service, name)
    if args.json:
        exits.print_json({"entry": args.entry, "done": done})
    elif args.action == "set":
        print(f"Stored. Refer to it as ${{keyring:{args.entry}}}.")
    else:
        print("Removed." if done else "There was no such entry.")
    return exits.DONE


def _secret(entry: str) -> str:
    from mcp_dualtune.errors import RequestError

    given = getpass.getpass(f"Secret for {entry}: ") if sys.stdin.isatty() else sys.stdin.read()
    secret = given.rstrip("\r\n")
    if not secret:
        raise RequestError("The secret is empty.", hint="Type it when asked, or pipe it in.")
    return secret


def _list(args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import Reference, load_config, os_keyring
    from mcp_dualtune.config.references import entry_name
    from mcp_dualtune.errors import ConfigError

    def stands(reference: Reference) -> str:
        try:
            found = reference.found
            if reference.kind == "keyring":
                found = bool(os_keyring.read_entry(*entry_name(reference.name)))
            return "found" if found else "missing"
        except ConfigError as error:
            return error.message

    servers = load_config(args.config).servers
    rows = [(server.name, one.text, one.where, stands(one)) for server in servers for one in server.references]
    if args.json:
        keys = ("server", "reference", "where", "state")
        exits.print_json({"references": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        Screen().table(("server", "reference", "where", "state"), rows)
    return exits.DONE if all(row[-1] == "found" for row in rows) else exits.FAILED
