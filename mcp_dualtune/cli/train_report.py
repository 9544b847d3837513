"""How `dualtune train` tells a person how far it is, and what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp_dualtune.cli.show import Screen

if TYPE_CHECKING:
    from mcp_dualtune.training.own_servers.install import Installed
    from mcp_dualtune.training.own_servers.outcome import Outcome

EVERY = 20.0
"""Seconds between two lines in a pipe."""


SOURCES = {
    "synthesis": "made up",
    "executed": "true results",
    "correction": "from your corrections",
    "own": "from your own file",
    "trace": "from the trace log",
    "writer": "written by a chat model",
    "sampling": "written by your client's model",
}


class Silence:
    """Says nothing."""

    def phase(self, text: str) -> None:
        """Ignored."""

    def share(self, done: float, left: float) -> None:
        """Ignored."""


class Lines:
    """A line for each phase, and now and then one in between."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self._text, self._last = screen, "", 0.0

    def phase(self, text: str) -> None:
        """What begins."""
        self._text, self._last = text, time.monotonic()
        self.screen.line(text)

    def share(self, done: float, left: float) -> None:
        """How far it is."""
        if time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            self.screen.line(f"{self._text}: {done:.0%}, {duration(left)} left")


class Bar:
    """A bar with the time left."""

    def __init__(self, screen: Screen) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._progress = Progress(*columns, console=screen.console, transient=True)
        self._task = self._progress.add_task("", total=1.0, left="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def phase(self, text: str) -> None:
        """What begins."""
        self._progress.update(self._task, description=text)

    def share(self, done: float, left: float) -> None:
        """How far it is."""
        shown = "" if math.isinf(left) else f"{duration(left)} left"
        self._progress.update(self._task, completed=done, left=shown)


def show(outcome: Outcome, installed: Sequence[Installed], *, installing: bool) -> None:
    """The report of one server."""
    screen = Screen()
    again = ", continued" if outcome.resumed else ""
    screen.line(f"{outcome.server}: {duration(outcome.seconds)}{again}", "bold")
    rows = []
    for title, key in (("tool", "tool"), ("full call", "full_call"), ("decision", "decision")):
        had, has = outcome.before[key], outcome.after[key]
        rows.append((title, _percent(had["value"]), _percent(has["value"]), f"{has['right']}/{has['total']}"))
    _table(screen, ("on requests never trained on", "before", "after", "right"), rows)
    screen.line()
    states = {done.name_and_kind: done.state for done in installed}
    made = []
    for one in outcome.made:
        state = states.get((one.name, one.kind), "better, not installed") if one.kept else f"not kept: {one.reason}"
        size = f"{one.megabytes:.2f}" if one.kept else ""
        given = f"{one.gathered_before} → {one.gathered_after} of {one.gathered}" if one.gathered else "-"
        made.append((one.name, _percent(one.before), _percent(one.after), str(one.cases), given, size, state))
    made += [(name, "", "", "", "", "", "not reached: give it more time with --budget") for name in outcome.unreached]
    _table(screen, ("adapter", "before", "after", "cases", "not made up", "MB", "state"), made)
    screen.line()
    unproven = sum(one.kept and not one.gathered for one in outcome.made)
    if unproven:
        screen.line(
            f"{unproven} of the adapters kept were judged by made-up requests alone, on a clear gain; on people's they"
            " may be worse. From five requests of your own on (--examples, `dualtune correct`), those judge as well.",
            "yellow",
        )
    refitted = sum(one.refitted for one in outcome.kept)
    if refitted:
        screen.line(
            f"{refitted} of the adapters kept were trained once more at the end, on all requests that were not made up;"
            " the numbers above were measured before that."
        )
    if outcome.not_refitted:
        screen.line(
            f"no time was left to train {', '.join(outcome.not_refitted)} on all of them: as measured above", "yellow"
        )
    for row in outcome.after["confusions"]:
        screen.line(f"still confused: {row['right']} taken for {row['decided']}, {row['times']} times")
    for tool, reason in outcome.skipped.items():
        screen.line(f"no requests for {tool}: {reason}", "yellow")
    sources = ", ".join(f"{count} {SOURCES.get(source, source)}" for source, count in outcome.sources.items())
    screen.line(f"requests: {sources}; adapters kept: {outcome.megabytes:.1f} MB in all")
    screen.line(f"They speak for {outcome.server} only; those of your other servers stay as they are.")
    if installing and outcome.kept:
        screen.line("A running gateway uses them from its next request on; `dualtune adapters` lists them, and")
        screen.line("`dualtune adapters install --undo NAME` brings back what one has replaced.")


def show_left_out(left_out: Mapping[str, int]) -> None:
    """What other sources offered, and was not taken."""
    screen = Screen()
    for reason, count in left_out.items():
        screen.line(f"not taken from other sources, {count} times: {reason}", "yellow")


def show_remembered(count: int, file: Path, *, compared: bool) -> None:
    """Where the user's examples are kept, and what they do there."""
    after = "; requests are compared with them from now on" if compared else ""
    Screen().line(f"{count} requests of yours are kept in {file}{after}.")


def duration(seconds: float) -> str:
    """`1:05 min`, `40 s`."""
    if math.isinf(seconds):
        return "?"
    whole = max(round(seconds), 0)
    return f"{whole} s" if whole < 60 else f"{whole // 60}:{whole % 60:02} min"


def _table(screen: Screen, titles: Any, rows: Any) -> None:
    if not screen.rich:
        rows = [titles, *rows]  # a pipe gets no titles from `table`, but here the columns would be a riddle
    screen.table(titles, rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
