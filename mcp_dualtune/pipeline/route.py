"""The first stage: which server, or none.

Owns when no model is needed for that. It does not look for server names in the text: the model reads the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mcp_dualtune.pipeline.stages import Choice, Parts, choose, fitting
from mcp_dualtune.types import Request, ServerSpec, StageRecord


def route(parts: Parts, request: Request, servers: Sequence[ServerSpec]) -> Choice:
    """Choose one of `servers`; a client that named exactly one has chosen already.

    Raises:
        PromptTooLong, AdapterError, Cancelled: as `Engine.rank`.
    """
    if request.servers is not None and len(servers) == 1:
        name = servers[0].name
        return Choice(StageRecord("route", name, 1.0, (), "-", 0.0), ((name, 1.0),))
    render = partial(parts.seat.renderer.route, exemplars=parts.seat.exemplars.of_servers(servers))
    prompt = fitting(parts, request, servers, render)
    return choose(parts, "route", prompt, parts.seat.adapters.best("route"))
