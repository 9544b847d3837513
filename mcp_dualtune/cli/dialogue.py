"""Questions to the person at the terminal: missing values, and a yes for calls that need one.

Imported inside `run` functions only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from mcp_dualtune.cli.show import Screen, safe
from mcp_dualtune.mcp_server import questions
from mcp_dualtune.mcp_server.results import say_step
from mcp_dualtune.types import JSON, Decision, Step, ToolCall

if TYPE_CHECKING:
    from mcp_dualtune.gateway import Gateway


class Dialogue:
    """What a run may say to and ask of the person; silent and answerless in a pipe."""

    def __init__(self, gateway: Gateway, screen: Screen, status: Any, *, yes: bool, no: bool, silent: bool) -> None:
        self._gateway, self._screen, self._status = gateway, screen, status
        self._yes, self._no = yes, no
        self.interactive = not silent and sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def may_confirm(self) -> bool:
        """Whether anybody, an option or a person, can say yes or no."""
        return self._yes or self._no or self.interactive

    async def report(self, step: Step) -> None:
        """Say which call is done."""
        self._status.update(safe(say_step(step)))

    async def ask(self, decision: Decision) -> Mapping[str, JSON] | None:
        """The missing values, typed in; None when the person leaves the first one empty."""
        tool = self._gateway.catalog.tool(decision.server or "", decision.tool or "")
        self._screen.line(questions.missing_message(tool, decision.question, decision.missing), "bold")
        fields = questions.missing_form(tool, decision.missing)["properties"]
        answers: dict[str, JSON] = {}
        for name, field in fields.items():
            choices = f" [{', '.join(field['enum'])}]" if "enum" in field else ""
            answers[name] = await self._read(f"  {name}{choices}: ")
        return questions.read_answers(tool, answers) if any(answers.values()) else None

    async def confirm(self, call: ToolCall, reason: str) -> bool:
        """The yes or no of an option, else of the person; an empty answer is a no."""
        if self._yes or self._no:
            return self._yes
        self._screen.line(questions.confirm_message(call, reason), "bold yellow")
        return (await self._read("  Run it? [y/N] ")).strip().lower() in ("y", "yes")

    async def _read(self, prompt: str) -> str:
        self._status.stop()
        try:
            # The prompt belongs on stderr, so that a redirected stdout holds the result alone.
            print(safe(prompt), end="", file=sys.stderr, flush=True)
            line: str = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            return line.rstrip("\n")
        finally:
            self._status.start()
