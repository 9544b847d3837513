"""`dualtune correct`: say what would have been right for a past request; training learns from it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_dualtune.catalog.catalog import Catalog
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import Config
    from mcp_dualtune.tracing.past import PastRequest
    from mcp_dualtune.training.synthesis.own_examples import OwnExample

LAST, LISTED = "last", 10
SHORTEST_ID = 4
"""Characters of an id that are enough, where they are those of one request only."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `correct`."""
    about = "LAST, or the id of a past request (its beginning will do); left out: the latest requests are listed"
    parser.add_argument("which", nargs="?", metavar="LAST|ID", help=about)
    parser.add_argument("--server", metavar="NAME", help="the right server (default: the one that was decided)")
    about = "the right tool (default: the one that was decided), or none where no tool fits"
    parser.add_argument("--tool", metavar="NAME", help=about)
    about = "the right arguments; leave out what the request does not say, and all where only the tool was wrong"
    parser.add_argument("--arguments", metavar="JSON", help=about)
    parser.add_argument("--request", metavar="TEXT", help="the words of the request, where the trace has masked them")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="check against this catalog; no server is started")


def run(args: argparse.Namespace) -> int:
    """Check the correction against the tools and keep it; in a terminal, ask for what no option says."""
    import sys

    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.config import load_config
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.training.gathering.corrections import remember
    from mcp_dualtune.training.gathering.gathered import Sourced

    config = load_config(args.config)
    past = _past(config)
    if args.which is None:
        return _list(past, as_json=args.json)
    chosen = _chosen(args.which, past)
    said = any(value is not None for value in (args.server, args.tool, args.arguments))
    screen = Screen(error=True)
    if not said:
        if args.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            hint = "Give --tool, --server or --arguments."
            raise RequestError("Nothing says what would have been right.", hint=hint)
        _show(screen, chosen)
    catalog = _catalog(args, screen)
    if not said:
        _ask(args, chosen, catalog)
    example = _example(args, chosen, catalog)
    path = config.settings.training.examples
    assert path is not None, "a config that was loaded names the file"
    replaced = remember(path, [Sourced(example, "correction")]) > 0
    missing = _missing(example, catalog)
    if args.json:
        row: dict[str, Any] = {"request": example.request, "server": example.server, "tool": example.tool}
        if example.arguments is not None:
            row["arguments"] = dict(example.arguments)
        exits.print_json({"example": row, "missing": missing, "replaced": replaced, "file": str(path)})
    else:
        shown = Screen()
        shown.line(f"Kept in {path}{' in the place of an earlier correction' if replaced else ''}.")
        if missing:
            shown.line(f"The request leaves out {', '.join(missing)}: asking for it would have been right.")
        if config.settings.model.encoder_chooses:
            shown.line("Requests are compared with it from now on.")
        shown.line(f"`dualtune train {example.server}` learns from it.")
    return exits.DONE


def _past(config: Config) -> list[PastRequest]:
    """The past requests with a decision, oldest first.

    Raises:
        RequestError: there are none, or nobody wrote them down.
    """
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.tracing.past import read_past

    file = config.settings.trace.file
    if file is None:
        hint = "Name a file in dualtune.trace.file in the config; decisions are kept there from then on."
        raise RequestError("No past decisions are known: tracing is off.", hint=hint)
    try:
        found = [one for one in read_past(file) if one.decisions]
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise RequestError(f"Cannot read the trace {file}: {error.strerror}.", hint="Check its permissions.") from error
    if not found:
        raise RequestError(
            f"There is no decision in {file} yet.", hint="Make a request first, such as `dualtune plan`."
        )
    return found


def _list(past: Sequence[PastRequest], *, as_json: bool) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen

    latest = list(past)[-LISTED:][::-1]
    if as_json:
        rows = [{"id": one.id, "at": one.at, "request": one.text, "decided": _decided(one)} for one in latest]
        exits.print_json({"requests": rows})
    else:
        lines = [(one.id, one.at[:19].replace("T", " "), one.text[:100], _decided(one)) for one in latest]
        Screen().table(("id", "at (UTC)", "request", "decided"), lines)
    return exits.DONE


def _decided(past: PastRequest) -> str:
    first = past.decisions[0]
    return f"{first.server}/{first.tool}" if first.server else first.outcome


def _chosen(which: str, past: Sequence[PastRequest]) -> PastRequest:
    from mcp_dualtune.errors import RequestError

    if which.casefold() == LAST:
        return past[-1]
    found = [one for one in past if one.id.startswith(which.casefold())] if len(which) >= SHORTEST_ID else []
    if len(found) != 1:
        problem = "is that of several requests" if found else "is that of no request"
        raise RequestError(f"The id {which!r} {problem}.", hint="`dualtune correct` lists the latest requests.")
    return found[0]


def _show(screen: Screen, past: PastRequest) -> None:
    import json

    first = past.decisions[0]
    screen.line(past.text, "bold")
    values = json.dumps(dict(first.arguments), ensure_ascii=False) if first.server else ""
    screen.line(f"  decided: {_decided(past)} {values}")


def _catalog(args: argparse.Namespace, screen: Screen) -> Catalog:
    import anyio

    from mcp_dualtune.cli import session

    async def look() -> Catalog:
        async with session.open_gateway(args, model=False) as gateway:
            await gateway.wait_ready()
            return gateway.catalog

    with screen.status("Looking at the tools"):
        return anyio.run(look)


def _ask(args: argparse.Namespace, past: PastRequest, catalog: Catalog) -> None:
    """Fill the options by questions; an empty answer keeps what was decided."""
    import json

    from mcp_dualtune.types import NONE

    first = past.decisions[0]
    args.server = _read(f"server [{first.server or ''}]: ") or first.server
    known = catalog.server(args.server).tools if args.server else ()
    kept = first.tool if args.server == first.server else None
    args.tool = _read(f"tool, or none ({', '.join(tool.name for tool in known)}) [{kept or NONE}]: ") or kept or NONE
    if args.tool != NONE:
        same = (args.server, args.tool) == (first.server, first.tool)
        shown = json.dumps(dict(first.arguments), ensure_ascii=False) if same else "only the tool is known"
        args.arguments = _read(f"arguments as JSON [{shown}]: ") or (shown if same else None)


def _read(prompt: str) -> str:
    import sys

    from mcp_dualtune.cli.show import safe

    print(safe(prompt), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _example(args: argparse.Namespace, past: PastRequest, catalog: Catalog) -> OwnExample:
    """The correction, checked.

    Raises:
        RequestError: it does not fit the tools, or the request cannot be learnt from.
    """
    import json

    from mcp_dualtune.config import MASK
    from mcp_dualtune.errors import RequestError, TrainingError
    from mcp_dualtune.training.synthesis.own_examples import parse_example
    from mcp_dualtune.types import NONE

    first = past.decisions[0]
    text = args.request or past.text
    if MASK in text:
        hint = "Give its words with --request, with something made up in the place of the secret."
        raise RequestError("The request held a secret, which the trace does not keep.", hint=hint)
    tool = args.tool or first.tool or NONE
    row: dict[str, Any] = {"request": text, "tool": tool}
    # Another tool may belong to another server: then its name tells, or the error asks for the server.
    server = args.server or (first.server if tool in (first.tool, NONE) else None)
    if server is not None:
        row["server"] = server
    if args.arguments is not None:
        try:
            row["arguments"] = json.loads(args.arguments)
        except (ValueError, RecursionError) as error:
            hint = """Quote it for the shell, as in --arguments '{"path": "a.txt"}'."""
            raise RequestError(f"The arguments are not JSON ({error}).", hint=hint) from error
    try:
        example = parse_example(row, catalog.servers)
    except TrainingError as error:
        hint = error.hint.replace('Add the field "server".', "Add --server NAME.")
        raise RequestError(f"The correction does not fit: {error.message}", hint=hint) from error
    if MASK in json.dumps(example.arguments, ensure_ascii=False):
        raise RequestError("The arguments hold a masked secret.", hint="Make something up in its place.")
    return example


def _missing(example: OwnExample, catalog: Catalog) -> list[str]:
    """Required parameters that the corrected call leaves out."""
    from mcp_dualtune.types import NONE

    if example.tool == NONE or example.arguments is None:
        return []
    known = {*example.arguments, *catalog.server(example.server).fixed_arguments}
    needed = catalog.tool(example.server, example.tool).input_schema.get("required") or ()
    return [name for name in needed if name not in known]
