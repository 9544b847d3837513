"""The user's own requests with the tool that was right for each: a choosing encoder compares a request with them too.

Whoever asks for something a second time asks in much the same words, and those are nearer to the request than any
description is. So what the user corrected, or gave to training, counts from the next request on. Owns reading that
file for serving, noticing that it changed, and how many requests of a tool are compared. Refuses to own: writing the
file, and checking its examples against the tools (`training.gathering`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mcp_dualtune.state import read_private
from mcp_dualtune.types import NONE, ServerSpec

logger = logging.getLogger(__name__)

MOST = 32
"""Requests of one tool that are compared, the latest: each costs a pass over it under each choosing adapter, once."""

Row = tuple[str, str, str]
"""Server, tool or `none`, request."""


class Exemplars:
    """Requests by server and tool, from a file that may change at any time, or told."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._by_server: dict[str, dict[str, tuple[str, ...]]] = {}
        self._left_out: frozenset[str] = frozenset()
        self.refresh()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._by_server)

    def of_tools(self, server: ServerSpec) -> Mapping[str, Sequence[str]]:
        """The requests to one server by tool, the latest last; those that none of its tools serves under `none`."""
        known, offered = self._by_server.get(server.name, {}), {tool.name for tool in server.tools} | {NONE}
        return {
            tool: [request for request in requests if request not in self._left_out]
            for tool, requests in known.items()
            if tool in offered
        }

    def of_servers(self, servers: Sequence[ServerSpec]) -> Mapping[str, Sequence[str]]:
        """The requests that some tool of each server serves."""
        by_tool = {server.name: self.of_tools(server) for server in servers}
        return {
            name: [request for tool, requests in tools.items() if tool != NONE for request in requests]
            for name, tools in by_tool.items()
            if tools
        }

    def tell(self, rows: Iterable[Row]) -> None:
        """Put these in the place of what is known."""
        found: dict[str, dict[str, list[str]]] = {}
        for server, tool, request in rows:
            found.setdefault(server, {}).setdefault(tool, []).append(request)
        self._by_server = {
            server: {tool: tuple(requests[-MOST:]) for tool, requests in tools.items()}
            for server, tools in found.items()
        }

    def leave_out(self, requests: Iterable[str]) -> None:
        """From now on compare with none of these: what is measured may not be told its own answer."""
        self._left_out = frozenset(request.strip() for request in requests)

    def refresh(self, *, closely: bool = False) -> bool:
        """Read the file again if it has changed, or in any case when looking `closely`; says whether it was read.

        A file that cannot be read leaves what is known, and is warned of once for each of its versions.
        """
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
        except OSError:
            stamp = None
        if stamp == self._seen and not closely:
            return False
        changed, self._seen = stamp != self._seen, stamp
        try:
            self.tell(_rows(read_private(self._path) or ""))
        except (OSError, UnicodeDecodeError) as error:
            if changed:
                logger.warning("The examples %s cannot be read: %s.", self._path, error)
        return changed


def _rows(text: str) -> Iterable[Row]:
    """What the lines say; comments, and what training would refuse, are passed over."""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, Mapping):
            server, tool, request = (row.get(name) for name in ("server", "tool", "request"))
            if isinstance(server, str) and isinstance(tool, str) and isinstance(request, str) and request.strip():
                yield server, tool, request.strip()
