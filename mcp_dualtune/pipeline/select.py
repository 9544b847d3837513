"""The second stage: which tool of one server, `none`, or `finish` once there is a history.

Owns the look-up of that server's adapter. The server is the route stage's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcp_dualtune.pipeline.stages import Choice, Parts, choose, fitting
from mcp_dualtune.prompting import ChoicePrompt
from mcp_dualtune.types import Request, ServerSpec


def select(parts: Parts, request: Request, server: ServerSpec) -> Choice:
    """Choose among the tools of `server`.

    Raises:
        PromptTooLong, AdapterError, Cancelled: as `Engine.rank`.
    """

    exemplars = parts.seat.exemplars.of_tools(server)

    def render(shown: Request, offered: Sequence[ServerSpec]) -> ChoicePrompt:
        return parts.seat.renderer.select(shown, offered[0], exemplars)

    prompt = fitting(parts, request, (server,), render)
    adapter = parts.seat.adapters.best("select", server.name, None, server.tools_fingerprint)
    return choose(parts, "select", prompt, adapter)
