"""`dualtune pins`: what was trusted of each server at its first use, and what waits for an approval since.

Starts no server: a gateway has written down what it met, so that what is approved is what was shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_dualtune.config import Config
    from mcp_dualtune.security.pin_file import Entry, PinFiles, ServerPins

ACTIONS = {
    "list": "every pinned or waiting tool",
    "show": "the pinned definitions, whole",
    "diff": "how what waits differs from what is pinned; exit code 1 when something waits",
    "approve": "trust what waits, as `diff` shows it",
    "reset": "forget a server (its next use is its first again), or one tool (it waits when it is listed again)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pins`."""
    about = "; ".join(f"{name}: {meaning}" for name, meaning in ACTIONS.items())
    parser.add_argument("action", nargs="?", choices=list(ACTIONS), default="list", help=about)
    parser.add_argument("server", nargs="?", metavar="SERVER", help="only this server")
    parser.add_argument(
        "tool", nargs="?", metavar="TOOL", help='only this tool of it, "(instructions)", or a prompt as "(prompt) NAME"'
    )
    parser.add_argument("--all", action="store_true", help="approve or reset: every server")


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says.

    Raises:
        ConfigError: the config or the pins cannot be read.
        RequestError: the server or tool named is not there, or none is named where one is needed.
    """
    from mcp_dualtune.cli import exits
    from mcp_dualtune.config import load_config
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.security.pin_file import PinFiles

    config = load_config(args.config)
    assert config.settings.state is not None
    files = PinFiles(config.settings.state)
    if args.action in ("approve", "reset") and args.server is None and not args.all:
        raise RequestError(f"`pins {args.action}` needs a server.", hint="Name it, or say --all.")
    if args.action == "reset" and args.tool is None:
        return _reset(files, config, args)
    found = list(_chosen(files, config, args.server))
    if args.server is not None and not found:
        known = ", ".join(sorted({pins.server for pins in _chosen(files, config, None)})) or "none yet"
        raise RequestError(f'No pins of a server "{args.server}".', hint=f"Servers with pins: {known}.")
    if args.tool is not None and not any(args.tool in {*pins.pinned, *pins.waiting} for pins in found):
        raise RequestError(f'"{args.server}" has no pin of a tool "{args.tool}".', hint="See `dualtune pins list`.")
    return {"list": _list, "show": _show, "diff": _diff, "approve": _approve, "reset": _reset_tool}[args.action](
        files, found, args
    ) or exits.DONE


def _chosen(files: PinFiles, config: Config, name: str | None) -> Iterator[ServerPins]:
    """The pins of configured servers under the way they are reached now, then of servers reached in other ways."""
    from mcp_dualtune.security.pin_file import identity_of, read_pins

    now = [files.path(server.name, identity_of(server)) for server in config.servers]
    for path in [*now, *(path for path in files.paths() if path not in now)]:
        pins = read_pins(path)
        if pins is not None and name in (None, pins.server):
            yield pins


def _rows(found: Iterable[ServerPins], tool: str | None) -> Iterator[dict[str, Any]]:
    for pins in found:
        for name in sorted({*pins.pinned, *pins.waiting}):
            if tool is not None and name != tool:
                continue
            pinned, waiting = pins.pinned.get(name), pins.waiting.get(name)
            state = "pinned" if waiting is None else "new" if pinned is None else "changed"
            latest = waiting or pinned
            assert latest is not None
            yield {
                "server": pins.server,
                "identity": pins.identity[:16],
                "tool": name,
                "state": state,
                "since": latest.since,
                "pinned": _shown(pinned),
                "waiting": _shown(waiting),
            }


def _shown(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {"digest": entry.definition.digest, "definition": entry.definition.value}


def _list(files: PinFiles, found: list[ServerPins], args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.security.untrusted import escape_hidden

    rows = list(_rows(found, args.tool))
    if args.json:
        exits.print_json({"pins": [{key: row[key] for key in ("server", "tool", "state", "since")} for row in rows]})
    else:
        texts = [tuple(escape_hidden(row[key]) for key in ("server", "tool", "state", "since")) for row in rows]
        Screen().table(("server", "tool", "state", "since"), texts)
    return exits.DONE


def _show(files: PinFiles, found: list[ServerPins], args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.definition_text import definition_lines
    from mcp_dualtune.cli.show import Screen

    rows = list(_rows(found, args.tool))
    if args.json:
        exits.print_json({"pins": rows})
        return exits.DONE
    screen = Screen()
    for row in rows:
        if row["pinned"] is not None:
            screen.line(f"{row['server']}/{row['tool']}  sha256 {row['pinned']['digest']}", "bold")
            for line in definition_lines(row["pinned"]["definition"]):
                screen.line(f"  {line}")
    return exits.DONE


def _diff(files: PinFiles, found: list[ServerPins], args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.definition_text import difference
    from mcp_dualtune.cli.show import Screen

    rows = [row for row in _rows(found, args.tool) if row["waiting"] is not None]
    if args.json:
        exits.print_json({"waiting": rows})
        return exits.FAILED if rows else exits.DONE
    screen = Screen()
    styles = {"-": "red", "+": "green", "@": "dim"}
    for row in rows:
        screen.line(f"{row['server']}/{row['tool']} {'is new' if row['state'] == 'new' else 'has changed'}", "bold")
        for line in difference(row["pinned"], row["waiting"]):
            screen.line(line, styles.get(line[:1], ""))
    if not rows:
        screen.line("Nothing waits for an approval.")
    return exits.FAILED if rows else exits.DONE


def _approve(files: PinFiles, found: list[ServerPins], args: argparse.Namespace) -> int:
    from mcp_dualtune.security.pins import approve

    done = []
    for pins in found:
        names = [name for name in pins.waiting if args.tool in (None, name)]
        if names:
            files.save(approve(pins, names))
            done += [f"{pins.server}/{name}" for name in names]
    return _report("approved", done, args)


def _reset_tool(files: PinFiles, found: list[ServerPins], args: argparse.Namespace) -> int:
    from mcp_dualtune.security.pins import forget_tool

    done = []
    for pins in found:
        if args.tool in pins.pinned:
            files.save(forget_tool(pins, args.tool))
            done.append(f"{pins.server}/{args.tool}")
    return _report("forgotten", done, args)


def _reset(files: PinFiles, config: Config, args: argparse.Namespace) -> int:
    """Remove whole files, also those that cannot be read any more."""
    from mcp_dualtune.errors import ConfigError
    from mcp_dualtune.security.pin_file import identity_of, read_pins

    configured = {files.path(server.name, identity_of(server)): server.name for server in config.servers}

    def server_of(path: Path) -> str | None:
        try:
            pins = read_pins(path)
        except ConfigError:
            return configured.get(path)
        return pins.server if pins is not None else None

    gone = [(path, server_of(path)) for path in files.paths()]
    gone = [(path, name) for path, name in gone if args.all or name == args.server]
    for path, _ in gone:
        path.unlink(missing_ok=True)
    return _report("forgotten", [name or path.name for path, name in gone], args)


def _report(word: str, done: list[str], args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.security.untrusted import escape_hidden

    if args.json:
        exits.print_json({word: done})
    else:
        for name in done:
            Screen().line(f"{word}: {escape_hidden(name)}")
        if not done:
            Screen().line("Nothing was waiting." if word == "approved" else "Nothing was pinned.")
    return exits.DONE
