"""`dualtune train`: adapters for your own servers, or the embedded model anew."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_dualtune.config import Config
    from mcp_dualtune.training.own_servers.bench import Tuning
    from mcp_dualtune.training.own_servers.outcome import Outcome
    from mcp_dualtune.training.own_servers.run import Tell
    from mcp_dualtune.types import ServerSpec

NANO = "nano"
DEFAULT_BUDGET = 600.0
RUNS, WRITTEN = "training", "written"
"""Folder below the state folder, and in it what a chat model has written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.add_argument("servers", nargs="+", metavar="SERVER", help="servers of the config; all: every one of them")
    about = "for each server, as 90s, 5m or 1h (10m; a model of your own: as long as its recipe takes)"
    parser.add_argument("--budget", metavar="TIME", help=about)
    parser.add_argument("--examples", type=Path, metavar="FILE", help="requests of your own, one JSON object a line")
    parser.add_argument("--execute", action="store_true", help="call read-only tools, to learn from true results")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="read the tools from FILE; no server is started")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed makes other requests (0)")
    parser.add_argument("--again", action="store_true", help="begin anew what was done or interrupted before")
    parser.add_argument("--no-install", action="store_true", help="train and report, but put nothing into use")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="checkpoints and logs (default: in the state folder)")
    own = parser.add_argument_group("a base model of your own (dualtune.model.path); sizes have their own defaults")
    own.add_argument("--rank", type=int, metavar="N", help="of the LoRA matrices; alpha is twice that")
    own.add_argument("--rate", type=float, metavar="X", help="peak learning rate")
    own.add_argument("--epochs", type=float, metavar="N", help="times that every example is read")
    own.add_argument("--packing", action=argparse.BooleanOptionalAction, help="several examples in one row")
    own.add_argument("--four-bit", action=argparse.BooleanOptionalAction, help="QLoRA: the base in 4 bits")
    own.add_argument("--launch", metavar="COMMAND", help='for several GPUs, as "accelerate launch --num_processes 4"')
    nano = parser.add_argument_group("the embedded model itself: `dualtune train nano --data DIR`")
    nano.add_argument("--data", type=Path, metavar="DIR", help="data sets listed in the model card")
    nano.add_argument("--output", type=Path, default=Path("adapters/nano"), metavar="DIR", help="the finished model")
    nano.add_argument("--minutes", type=float, metavar="N", help="wall-clock budget of the decoder")


def run(args: argparse.Namespace) -> int:
    """Train; interrupting is safe, the same command goes on where it stopped."""
    if args.data is not None:
        return _nano(args)
    from mcp_dualtune.cli import exits
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.cli.train_report import show, show_left_out, show_remembered
    from mcp_dualtune.config import load_config
    from mcp_dualtune.training.gathering import gather
    from mcp_dualtune.training.gathering.corrections import remember
    from mcp_dualtune.training.own_servers.budget import parse_budget
    from mcp_dualtune.training.own_servers.install import Installed, install
    from mcp_dualtune.training.own_servers.run import Wish, train_server

    config = load_config(args.config)
    default = DEFAULT_BUDGET if config.settings.model.path is None else math.inf
    budget = default if args.budget is None else parse_budget(args.budget)
    servers, results = _servers(args, config)
    kept = _runs(args, config) / WRITTEN
    gathered = gather(config, servers, args.examples, args.seed, Screen(error=True).line, kept, again=args.again)
    outcomes: list[tuple[Outcome, Sequence[Installed]]] = []
    place = config.settings.model.user_adapters
    assert place is not None
    with _told(args) as tell:
        for server in servers:
            wish = Wish(args.seed, budget, gathered, results.get(server.name, {}), args.again, _tuning(args))
            try:
                outcome = train_server(server, config.settings, wish, _runs(args, config), tell)
            except KeyboardInterrupt:
                tell.phase("Interrupted. The same command goes on where it stopped.")
                raise
            outcomes.append((outcome, () if args.no_install else install(outcome.kept, place)))
    own = [] if args.no_install else [one for one in gathered.examples if one.source == "own"]
    examples = config.settings.training.examples
    assert examples is not None, "a config that was loaded names the file"
    if own:
        remember(examples, own)
    if args.json:
        rows = [{**one.to_json(), "installed": [i.to_json() for i in done]} for one, done in outcomes]
        exits.print_json({"servers": rows, "left_out": dict(gathered.left_out)})
    else:
        for outcome, installed in outcomes:
            show(outcome, installed, installing=not args.no_install)
        show_left_out(gathered.left_out)
        if own:
            show_remembered(len(own), examples, compared=config.settings.model.encoder_chooses)
    return exits.DONE


def _nano(args: argparse.Namespace) -> int:
    from mcp_dualtune.cli import exits
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.training.nano import train_nano

    if args.servers != [NANO]:
        raise RequestError("--data is for `dualtune train nano` only.", hint="Leave it out to train for your servers.")

    def say(line: str) -> None:
        if args.json:
            exits.print_json({"message": line})
        else:
            print(line, flush=True)

    runs = args.runs or Path("runs/nano")
    train_nano(args.data, runs, args.output, minutes=args.minutes, say=say)
    return exits.DONE


def _servers(
    args: argparse.Namespace, config: Config
) -> tuple[tuple[ServerSpec, ...], Mapping[str, Mapping[str, Sequence[str]]]]:
    """The named servers as they are now, and with --execute what their read-only tools truly answer.

    Raises:
        DownstreamError: one of them cannot be asked.
        CatalogError: there is none of that name.
    """
    import anyio

    from mcp_dualtune.catalog.catalog import load_catalog_file
    from mcp_dualtune.errors import RequestError
    from mcp_dualtune.evaluation.harness import configured
    from mcp_dualtune.training.own_servers.live import read_servers

    if args.catalog is not None:
        if args.execute:
            raise RequestError("--execute needs running servers.", hint="Leave --catalog out.")
        catalog = configured(load_catalog_file(args.catalog), config)
        return catalog.restrict(None if args.servers == ["all"] else args.servers).servers, {}
    names = [server.name for server in config.servers] if args.servers == ["all"] else args.servers
    return anyio.run(read_servers, config, names, args.seed, args.execute)


def _tuning(args: argparse.Namespace) -> Tuning:
    from mcp_dualtune.training.own_servers.bench import Tuning

    wanted = {name: getattr(args, name) for name in ("rank", "rate", "epochs", "packing", "four_bit")}
    if args.rank is not None:
        wanted["alpha"] = 2 * args.rank
    return Tuning({name: value for name, value in wanted.items() if value is not None}, args.launch)


def _runs(args: argparse.Namespace, config: Config) -> Path:
    state = config.settings.state
    if args.runs is not None:
        return Path(args.runs)
    assert state is not None
    return state / RUNS


@contextmanager
def _told(args: argparse.Namespace) -> Iterator[Tell]:
    """A bar with the time left on a terminal; one line for each phase in a pipe; silence with --json."""
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.cli.train_report import Bar, Lines, Silence

    screen = Screen(error=True)
    if args.json:
        yield Silence()
    elif not screen.rich:
        yield Lines(screen)
    else:
        with Bar(screen) as bar:
            yield bar
