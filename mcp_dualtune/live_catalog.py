"""What the servers offer at this moment, as far as it is trusted and can be used.

Owns building one server's part of the catalog anew, and what is held back until the user approves it. Refuses to own:
connections (`downstream`), what is trusted (`security.pins`), and schemas (`catalog`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_dualtune.agent.ambient import server_facts
from mcp_dualtune.catalog.catalog import BuiltServer, Catalog, SkippedTool, build_server
from mcp_dualtune.config import ServerConfig
from mcp_dualtune.config.changes import Changes
from mcp_dualtune.downstream.pool import Pool, ServerState
from mcp_dualtune.errors import CatalogError, PolicyError, ServerUnavailable
from mcp_dualtune.security.pins import Checked, Pins
from mcp_dualtune.types import JSON, ToolSpec

_NOTHING = Checked((), None, {})

logger = logging.getLogger(__name__)


class LiveCatalog:
    """The catalog of a pool's servers; a server that is away for a while keeps its part."""

    def __init__(self, servers: Sequence[ServerConfig], pool: Pool, pins: Pins) -> None:
        self.catalog = Catalog(())
        """The tools of all servers that have been ready."""
        self._servers, self._pool, self._pins = tuple(servers), pool, pins
        self._built: dict[str, BuiltServer] = {}
        self._checked: dict[str, Checked] = {}
        self._unproven: set[str] = set()
        """Servers that were changed and have not been ready since."""

    @property
    def skipped(self) -> Mapping[str, tuple[SkippedTool, ...]]:
        """By server: tools it lists that cannot be used or wait for an approval, with reasons."""
        return {name: built.skipped for name, built in self._built.items() if built.skipped}

    @property
    def held(self) -> Mapping[tuple[str, str], str]:
        """By server and tool: why a tool is not offered until the user approves it."""
        return {(name, tool): reason for name, one in self._checked.items() for tool, reason in one.held.items()}

    def instructions(self, server: str) -> str | None:
        """The instructions of a server, as far as they are trusted."""
        return self._of(server).instructions

    def prompts(self, server: str) -> tuple[JSON, ...]:
        """The prompts of a server, as far as they are trusted."""
        return self._of(server).prompts

    def _of(self, server: str) -> Checked:
        return self._checked.get(server, _NOTHING)

    def tool(self, server: str, name: str) -> ToolSpec:
        """A tool that may be called.

        Raises:
            CatalogError: there is none of this name.
            PolicyError: it waits for an approval.
        """
        try:
            return self.catalog.tool(server, name)
        except CatalogError:
            reason = self._of(server).held.get(name)
            if reason is None:
                raise
        raise PolicyError(f"{server}/{name} was not called: {reason}.")

    def has(self, servers: Sequence[ServerConfig]) -> bool:
        """Whether all of these have been ready."""
        return all(server.name in self._built for server in servers)

    def check(self, names: Sequence[str] | None) -> None:
        """Say now what cannot be chosen from, instead of choosing from the rest.

        Raises:
            CatalogError: a name is unknown.
            ServerUnavailable: a server of `names` never became ready; or, without names, none did.
        """
        # A server that was ready once and only restarts may still be chosen: its call waits for it.
        missing = [state for state in self._pool.states() if state.name not in self._built]
        for state in missing:
            if names is not None and state.name in names:
                raise _unavailable(state)
        if names is not None:
            self.catalog.restrict(names)
        elif not self.catalog.servers:
            if missing:
                raise _unavailable(missing[0])
            hint = "Add servers to the config's mcpServers block."
            raise ServerUnavailable("No server is configured.", hint=hint, retryable=False)

    def approved_since(self, servers: Sequence[ServerConfig]) -> list[str]:
        """Servers of which somebody has approved in the meantime what was held; they need no new start."""
        waiting = [server for server in servers if (one := self._of(server.name)).held or one.held_prompts]
        return [server.name for server in waiting if self._pins.outdated(server)]

    def take(self, name: str) -> bool:
        """A server is ready, lists something else, or is gone: whether that changes the catalog."""
        if self._build(name):
            self._unproven.discard(name)
        elif name in self._unproven and self._pool.state(name).circuit != "closed":
            # What stands there now is another server, and it cannot be started.
            self._built.pop(name, None)
        else:
            return False
        self._renew()
        return True

    def follow(self, servers: Sequence[ServerConfig], changes: Changes) -> None:
        """Take over a changed config."""
        self._servers = tuple(servers)
        self._unproven |= set(changes.restarted)
        for name in changes.removed:
            self._built.pop(name, None)
            self._checked.pop(name, None)
        for name in changes.adjusted:
            self._build(name)
        self._renew()

    def _build(self, name: str) -> bool:
        if self._pool.state(name).status != "ready":
            return False
        server = next(server for server in self._servers if server.name == name)
        listed = self._pool.tools(name), self._pool.instructions(name), self._pool.prompts(name)
        checked = self._checked[name] = self._pins.check(server, *listed)
        built = _build(server, checked.tools, checked.instructions)
        held = tuple(SkippedTool(tool, reason) for tool, reason in checked.held.items())
        self._built[name] = built = replace(built, skipped=built.skipped + held)
        for skipped in built.skipped:
            logger.warning("%s: the tool %r is left out: %s", name, skipped.name, skipped.reason)
        for prompt, reason in checked.held_prompts.items():
            logger.warning("%s: the prompt %r is left out: %s", name, prompt, reason)
        return True

    def _renew(self) -> None:
        names = [server.name for server in self._servers]
        self.catalog = Catalog(tuple(self._built[name].spec for name in names if name in self._built))


def _build(server: ServerConfig, tools: Sequence[JSON], instructions: str | None) -> BuiltServer:
    options = server.options
    lines = (instructions or "").strip().splitlines()
    description = options.description or (lines[0].strip() if lines else "")
    context = {**server_facts(server), **options.context}
    return build_server(
        server.name,
        description,
        tools,
        fixed_arguments=options.arguments,
        context=context,
        allow=options.allow,
        deny=options.deny,
    )


def _unavailable(state: ServerState) -> ServerUnavailable:
    reason = state.error.message if state.error else "It is still starting."
    if state.retry_seconds is not None:
        reason += f" It is tried again in {state.retry_seconds:.1f} s."
    hint = (state.error.hint if state.error else "") or "Try again in a moment, or run `dualtune doctor`."
    return ServerUnavailable(f'"{state.name}" is not available. {reason}', hint=hint)
