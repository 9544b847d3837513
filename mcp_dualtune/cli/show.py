"""Decisions and results for people: colours and bars on a terminal, plain lines in a pipe.

Owns how things look. Refuses to own what is said to programs (`--json` prints `records`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcp_dualtune.types import JSON, Decision, Provenance, StageRecord, ToolResult

BAR = 20
"""Characters of a full probability bar."""
LINES = 60
"""Lines of a result on a terminal; a pipe gets all of it."""
ORIGINS = {
    "request": ("green", "from the request"),
    "history": ("cyan", "from an earlier result"),
    "context": ("blue", "from the surroundings"),
    "fixed": ("magenta", "fixed in the config"),
    "schema": ("yellow", "from the tool's schema"),
    "model": ("red", "made up by the model"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """`text` without control characters: what a server sends must not steer the terminal."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


class Screen:
    """Writes to one stream; `error` chooses stderr, so that stdout stays free for a result."""

    def __init__(self, *, error: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=error, highlight=False, markup=False, soft_wrap=True)

    @property
    def rich(self) -> bool:
        """Whether a person's terminal is on the other end."""
        return self.console.is_terminal

    def line(self, text: str | Text = "", style: str = "") -> None:
        """One line."""
        self.console.print(safe(text) if isinstance(text, str) else text, style=style or None)

    def decision(self, decision: Decision, request: str = "") -> None:
        """The outcome, every stage with its runner-up and adapter, and every argument with where it came from."""
        self.line(self._headline(decision))
        if request and self.rich:
            self.line(_marked(request, decision.provenance.values()))
        for stage in decision.stages:
            self.line(self._stage(stage))
        for name, value in decision.arguments.items():
            self.line(self._argument(name, value, decision))
        for name in decision.missing:
            self.line(Text.assemble("  ", (safe(name), "bold"), " = ", ("?", "bold red"), "  (missing)"))
        if decision.question:
            self.line(f"  {decision.question}", "bold")
        self.line(f"  {decision.ms:.0f} ms", "dim")

    def _headline(self, decision: Decision) -> Text:
        if decision.outcome in ("call", "ask"):
            mark = "" if decision.outcome == "call" else "needs more: "
            target = safe(f"{decision.server}/{decision.tool}")
            return Text.assemble(mark, (target, "bold"), f"  {_percent(decision.confidence)}")
        words = {"none": "none of the tools fits", "finish": "nothing more to do"}[decision.outcome]
        return Text.assemble((words, "bold"), f"  {_percent(decision.confidence)}")

    def _stage(self, stage: StageRecord) -> Text:
        found = Text(f"  {stage.stage:<9} ")
        if self.rich:
            full = round(stage.probability * BAR)
            colour = "green" if stage.probability >= 0.8 else "yellow" if stage.probability >= 0.5 else "red"
            found.append("█" * full, colour).append("░" * (BAR - full), "dim").append(" ")
        choice = "" if stage.stage == "arguments" else f"  {safe(stage.choice)}"
        found.append(f"{_percent(stage.probability):>6}").append(choice, "bold")
        if stage.alternatives:
            name, probability = stage.alternatives[0]
            found.append(f"  next: {safe(name)} {_percent(probability)}", "dim")
        return found.append(f"  adapter: {stage.adapter}  {stage.ms:.0f} ms", "dim")

    def _argument(self, name: str, value: JSON, decision: Decision) -> Text:
        shown = Text.assemble("  ", (safe(name), "bold"), " = ")
        origins = [origin for path, origin in decision.provenance.items() if re.split(r"[.\[]", path)[0] == name]
        colour, words = ORIGINS[origins[0].source] if origins else ("", "")
        kinds = {origin.source for origin in origins}
        if len(kinds) > 1:
            colour, words = "", ", ".join(sorted(ORIGINS[kind][1] for kind in kinds))
        shown.append(safe(json.dumps(value, ensure_ascii=False)), colour)
        return shown.append(f"  ({words})" if words else "", "dim")

    def result(self, result: ToolResult) -> None:
        """What a tool answered: its text, and marks for images and the like."""
        words = safe(result.text) or "(empty result)"
        if not self.rich:
            # Written past the console, which would turn tabs into spaces.
            self.console.file.write(words + "\n")
            return
        lines = words.splitlines()
        if len(lines) > LINES:
            lines = [*lines[:LINES], f"… {len(lines) - LINES} more lines (a pipe or --json gets them all)"]
        for line in lines:
            self.line(line, "red" if result.is_error else "")

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table on a terminal, tab-separated lines in a pipe."""
        if not self.rich:
            for row in rows:
                cells = (" ".join(safe(cell).split()) for cell in row)
                self.console.file.write("\t".join(cells) + "\n")
            return
        table = Table(*titles, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*(Text(safe(cell)) for cell in row))
        self.console.print(table, soft_wrap=False)

    def status(self, message: str) -> Any:
        """A spinner while something takes its time; nothing in a pipe."""
        return self.console.status(message) if self.rich else _Silent()


class _Silent:
    """A status that shows nothing."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None: ...

    def update(self, message: str) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def _marked(request: str, origins: Iterable[Provenance]) -> Text:
    """The request with the parts that became arguments in the colour of that origin."""
    shown = Text("  ")
    spans = sorted(origin.span for origin in origins if origin.span is not None)
    at = 0
    for start, end in spans:
        if start >= at:
            shown.append(safe(request[at:start]), "dim").append(safe(request[start:end]), "green underline")
            at = end
    return shown.append(safe(request[at:]), "dim")


def _percent(probability: float) -> str:
    # 100 % would claim a certainty that no model has.
    return f"{min(probability, 0.999):.1%}" if probability >= 0.995 and probability < 1 else f"{probability:.0%}"
