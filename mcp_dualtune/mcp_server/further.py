"""Tools of ours beside `do`, `plan` and `find_tools`, for what a config allows and another package does.

Owns the seam only: the command line knows more packages than this one, and brings such tools along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mcp_dualtune.mcp_server.conversation import Conversation
from mcp_dualtune.mcp_server.results import Wire
from mcp_dualtune.types import JSON


class FurtherWork(Protocol):
    """What such a tool does."""

    async def __call__(self, conversation: Conversation, arguments: Mapping[str, JSON]) -> Wire:
        """Answer one call."""
        ...


@dataclass(frozen=True)
class FurtherTool:
    """One tool: how it is listed, and its work, which may ask the client while it runs.

    Its arguments are checked before; an error of ours that the work raises becomes a result with its words.
    """

    wire: Wire
    work: FurtherWork

    @property
    def name(self) -> str:
        """As clients call it."""
        return str(self.wire["name"])
