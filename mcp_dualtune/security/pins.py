"""Whether a server's tools and prompts are still the ones that were trusted at its first use.

Owns the rules: the first use trusts, later a new or changed tool waits for an approval. Refuses to own: what a tool's
definition is (`definitions`), files (`pin_file`), and showing differences (`cli`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Literal

from mcp_dualtune.config import ServerConfig
from mcp_dualtune.errors import ConfigError
from mcp_dualtune.security.definitions import (
    INSTRUCTIONS,
    PROMPT,
    Definition,
    define_instructions,
    define_prompt,
    define_tool,
)
from mcp_dualtune.security.pin_file import Entry, PinFiles, ServerPins, entry, identity_of
from mcp_dualtune.types import JSON

FIRST_USE_SECONDS = 30.0
"""For so long after its first list a server may add tools that are trusted with it: some wait until they know what
their client can do."""

MOST_PINNED = 5_000
"""Tools of one server that are pinned, and that may wait; an endless list must not fill the disk."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """What a server offers, after the comparison with its pins."""

    tools: tuple[JSON, ...]
    """Those that may be used, in wire spelling."""
    instructions: str | None
    """The trusted ones."""
    held: Mapping[str, str]
    """By name of a tool that is left out: why."""
    prompts: tuple[JSON, ...] = ()
    """Those that may be shown, in wire spelling."""
    held_prompts: Mapping[str, str] = field(default_factory=dict)
    """By name of a prompt that is left out: why."""


class Pins:
    """The trusted definitions of all servers; without a `state` folder they last as long as the object."""

    def __init__(
        self,
        mode: Literal["enforce", "warn", "off"],
        state: Path | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.mode, self._clock = mode, clock
        self._files = PinFiles(state) if state is not None else None
        self._memory: dict[str, ServerPins] = {}
        self._first: dict[str, float] = {}
        self._seen: dict[str, tuple[int, int] | None] = {}

    def check(
        self, server: ServerConfig, tools: Sequence[JSON], instructions: str | None, prompts: Sequence[JSON] = ()
    ) -> Checked:
        """Compare what a server lists now with its pins; never raises, because one server must not stop the others."""
        everything = Checked(tuple(tools), instructions, {}, tuple(prompts))
        if self.mode == "off":
            return everything
        try:
            checked, pins = self._compare(server, everything)
        except ConfigError as error:
            logger.warning("%s: %s", server.name, error)
            named = {str(tool.get("name")): error.message for tool in tools if isinstance(tool, Mapping)}
            checked, pins = Checked((), None, named), None
        if pins is not None:
            self._keep(server, pins)
        if self.mode == "enforce":
            return checked
        for name, reason in (*checked.held.items(), *checked.held_prompts.items()):
            logger.warning("%s: %r is used all the same, as dualtune.pins is warn: %s", server.name, name, reason)
        return everything

    def outdated(self, server: ServerConfig) -> bool:
        """Whether the pins of a server were changed by somebody else, such as `dualtune pins approve`."""
        if self._files is None or self.mode == "off":
            return False
        identity = identity_of(server)
        return identity in self._seen and self._files.stamp(server.name, identity) != self._seen[identity]

    def _compare(self, server: ServerConfig, listed: Checked) -> tuple[Checked, ServerPins | None]:
        instructions = listed.instructions
        identity = identity_of(server)
        known = self._load(server.name, identity)
        if known is None:
            self._first[identity] = self._clock()
            logger.log(
                logging.WARNING if self._files else logging.DEBUG,
                "%s: first use; its %d tools are trusted as they are now (see `dualtune pins`)",
                server.name,
                len(listed.tools),
            )
        trusting = self._clock() - self._first.get(identity, float("-inf")) <= FIRST_USE_SECONDS
        review = _Review(server.name, dict(known.pinned) if known else {}, trusting)
        tools = tuple(tool for tool in listed.tools if review.passes_tool(tool))
        prompts = tuple(prompt for prompt in listed.prompts if review.passes_prompt(prompt))
        trusted = instructions
        if instructions and not review.passes(INSTRUCTIONS, define_instructions(instructions)):
            before = review.pinned.get(INSTRUCTIONS)
            trusted = (before.definition.value or {}).get("instructions") if before else None
            logger.warning("%s: its instructions are not the trusted ones: %s", server.name, review.held[INSTRUCTIONS])
        held = dict.fromkeys(review.impossible, "no tool can have this name")
        held_prompts = {}
        for name, reason in review.held.items():
            if name.startswith(PROMPT):
                held_prompts[name.removeprefix(PROMPT)] = reason
            elif name != INSTRUCTIONS:
                held[name] = reason
        # What waits keeps its date for as long as it stays the same.
        before_waiting = known.waiting if known else {}
        waiting = {
            name: before_waiting[name] if _same(before_waiting.get(name), definition) else entry(definition)
            for name, definition in review.waiting.items()
        }
        pins = ServerPins(server.name, identity, review.pinned, waiting)
        return Checked(tools, trusted, held, prompts, held_prompts), (pins if pins != known else None)

    def _load(self, name: str, identity: str) -> ServerPins | None:
        if self._files is None or identity in self._memory:
            return self._memory.get(identity)
        self._seen[identity] = self._files.stamp(name, identity)
        return self._files.load(name, identity)

    def _keep(self, server: ServerConfig, pins: ServerPins) -> None:
        if self._files is None or pins.identity in self._memory:
            self._memory[pins.identity] = pins
            return
        try:
            self._files.save(pins)
            self._seen[pins.identity] = self._files.stamp(server.name, pins.identity)
        except OSError as error:
            # A file system that takes nothing must not take the servers away; within this run they stay pinned.
            self._memory[pins.identity] = pins
            logger.warning("%s: its pins last for this run only: %s", server.name, error)


class _Review:
    """One pass over what a server lists."""

    def __init__(self, server: str, pinned: dict[str, Entry], trusting: bool) -> None:
        self.server, self.pinned, self.trusting = server, pinned, trusting
        self.held: dict[str, str] = {}
        self.waiting: dict[str, Definition] = {}
        self.impossible: set[str] = set()
        """Tools under names that stand for something else."""

    def passes_tool(self, tool: JSON) -> bool:
        """Whether a tool may be offered; what has no name passes, as the catalog leaves it out anyway."""
        if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
            return True
        name = str(tool["name"])
        if name == INSTRUCTIONS or name.startswith(PROMPT):
            self.impossible.add(name)
            return False
        return self._passes_entry(name, tool, define_tool)

    def passes_prompt(self, prompt: JSON) -> bool:
        """The same for a prompt."""
        if not isinstance(prompt, Mapping) or not isinstance(prompt.get("name"), str):
            return True
        return self._passes_entry(f"{PROMPT}{prompt['name']}", prompt, define_prompt)

    def _passes_entry(
        self, name: str, entry: Mapping[str, JSON], define: Callable[[Mapping[str, JSON]], Definition]
    ) -> bool:
        try:
            definition = define(entry)
        except ValueError as error:
            self.held[name] = f"its definition cannot be pinned: it is {error}"
            return False
        return self.passes(name, definition)

    def passes(self, name: str, definition: Definition) -> bool:
        """Whether a definition is the pinned one, or is pinned now because it is the first of its name."""
        before = self.pinned.get(name)
        if before is None and self.trusting and len(self.pinned) < MOST_PINNED:
            self.pinned[name] = entry(definition)
            return True
        if before is not None and before.definition.digest == definition.digest:
            return True
        what = "is new" if before is None else "has changed"
        self.held[name] = (
            f"it {what} since {self.server} was first used; look at it with `dualtune pins diff {self.server}`,"
            f" then `dualtune pins approve {self.server}`"
        )
        if len(self.waiting) < MOST_PINNED:
            self.waiting[name] = definition
        return False


def approve(pins: ServerPins, names: Sequence[str]) -> ServerPins:
    """`pins` with what waits under `names` trusted."""
    taken = {name: entry(pins.waiting[name].definition) for name in names}
    left = {name: item for name, item in pins.waiting.items() if name not in taken}
    return replace(pins, pinned={**pins.pinned, **taken}, waiting=left)


def forget_tool(pins: ServerPins, name: str) -> ServerPins:
    """`pins` without the pin of one tool: it is new the next time it is listed, and waits."""
    return replace(pins, pinned={key: item for key, item in pins.pinned.items() if key != name})


def _same(item: Entry | None, definition: Definition) -> bool:
    return item is not None and item.definition.digest == definition.digest
