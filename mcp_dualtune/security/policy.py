"""Whether a call may be made: allow, ask the user first, or deny.

Owns the order of rules and the defaults that a tool's annotations give. It does not ask anybody: the agent loop does,
through the front door's `confirm`. Annotations come from the server itself, so they can only be as honest as it is;
a rule in the config always wins over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mcp_dualtune.config import PolicyRule
from mcp_dualtune.types import ToolSpec

Action = Literal["allow", "ask", "deny"]
HINTS = ("readOnlyHint", "destructiveHint", "openWorldHint", "idempotentHint")


@dataclass(frozen=True)
class Verdict:
    """What the policy says of one call, and why."""

    action: Action
    reason: str
    """One sentence for the user."""
    by_rule: bool = False
    """Whether the config says so, not the tool's own annotations."""


class Policy:
    """Ordered rules, then what the config says of the server, then the tool's annotations."""

    def __init__(self, rules: Sequence[PolicyRule] = (), servers: Mapping[str, Action | None] | None = None) -> None:
        self._rules, self._servers = tuple(rules), dict(servers or {})

    def check(self, tool: ToolSpec) -> Verdict:
        """Judge a call of `tool`: the first rule that fits decides, else its server's default, else its annotations."""
        name = f"{tool.server}/{tool.name}"
        for rule in self._rules:
            if rule.fits(tool.server, tool.name):
                return Verdict(
                    rule.action, f"The policy rule {rule.match!r} says {rule.action} for {name}.", by_rule=True
                )
        default = self._servers.get(tool.server)
        if default is not None:
            return Verdict(default, f"The policy of the server says {default} for {name}.", by_rule=True)
        return _by_annotations(name, tool.annotations)


def _by_annotations(name: str, hints: Mapping[str, object]) -> Verdict:
    unreadable = [hint for hint in HINTS if hints.get(hint) is not None and not isinstance(hints[hint], bool)]
    if unreadable:
        return Verdict("ask", f"{name} says of itself what cannot be read ({', '.join(unreadable)}).")
    if hints.get("readOnlyHint") is True:
        return Verdict("allow", f"{name} only reads.")
    # The protocol's own default for a missing destructiveHint is true, but only a server that says anything about
    # the matter is taken at its word: most servers annotate nothing, and asking for every call trains people to
    # answer yes without reading.
    says_it_writes = hints.get("readOnlyHint") is False
    if hints.get("destructiveHint") is True or (says_it_writes and hints.get("destructiveHint") is None):
        return Verdict("ask", f"{name} may change or delete things.")
    if hints.get("openWorldHint") is True:
        return Verdict("ask", f"{name} acts on the outside world.")
    return Verdict("allow", f"Nothing speaks against {name}.")


def may_repeat(tool: ToolSpec) -> bool:
    """Whether making the same call again is harmless by the tool's own word."""
    return tool.annotations.get("readOnlyHint") is True or tool.annotations.get("idempotentHint") is True
