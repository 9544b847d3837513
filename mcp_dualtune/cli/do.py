"""`dualtune do`: carry out a request; the explanation goes to stderr, the result to stdout."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_dualtune.types import Trajectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `do`."""
    parser.add_argument("request", help="what is wanted, in plain words; - reads it from stdin")
    parser.add_argument("--server", action="append", metavar="NAME", help="choose only from this server (repeatable)")
    parser.add_argument(
        "--max-steps", type=_positive, metavar="N", help="most calls to make (default: from the config)"
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--yes", "-y", action="store_true", help="run calls that need a confirmation without asking")
    answer.add_argument("--no", "-n", action="store_true", help="refuse calls that need a confirmation without asking")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def run(args: argparse.Namespace) -> int:
    """Make the calls and print the last result; the exit code says how it ended."""
    import anyio

    from mcp_dualtune.cli import exits, session
    from mcp_dualtune.cli.dialogue import Dialogue
    from mcp_dualtune.cli.show import Screen
    from mcp_dualtune.records import trajectory_json

    request = session.read_request(args)
    screen = Screen(error=True)

    async def carry_out() -> Trajectory:
        with screen.status("Starting") as status:
            async with session.open_gateway(args) as gateway:
                dialogue = Dialogue(gateway, screen, status, yes=args.yes, no=args.no, silent=args.json)
                return await gateway.do(
                    request,
                    max_steps=args.max_steps,
                    progress=dialogue.report,
                    ask=dialogue.ask if dialogue.interactive else None,
                    confirm=dialogue.confirm if dialogue.may_confirm else None,
                )

    trajectory = anyio.run(carry_out)
    if args.json:
        exits.print_json(trajectory_json(trajectory))
    else:
        _show(trajectory, screen, yes=args.yes)
    return exits.of_trajectory(trajectory, steps_wanted=args.max_steps)


def _show(trajectory: Trajectory, screen: object, *, yes: bool) -> None:
    from mcp_dualtune.cli.show import Screen

    assert isinstance(screen, Screen)
    out = Screen()
    for step in trajectory.steps:
        screen.decision(step.decision, trajectory.request.text)
    last = trajectory.steps[-1] if trajectory.steps else None
    if last is None or trajectory.final not in (last.decision,):
        screen.decision(trajectory.final)
    if trajectory.note:
        screen.line(f"  {trajectory.note}", "bold red")
    if trajectory.stopped_by == "policy" and not yes:
        screen.line("  Run it with --yes to confirm such calls, or answer on a terminal.")
    if last is not None:
        out.result(last.result)
    screen.line(f"  {len(trajectory.steps)} calls, {trajectory.ms:.0f} ms in all", "dim")
