"""A caller whose answers to a server's questions are recorded.

Owns nothing but the record: who is asked, and how, is the caller's own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from mcp_dualtune.downstream.questions import Caller, Lane
from mcp_dualtune.tracing.recorder import RequestTrace
from mcp_dualtune.types import JSON


class Audited:
    """`caller` as one server sees it; what that server asks goes into `trace`."""

    def __init__(self, caller: Caller, server: str, trace: RequestTrace) -> None:
        self._caller, self._server, self._trace = caller, server, trace

    @classmethod
    def maybe(cls, caller: Caller | None, server: str, trace: RequestTrace) -> Audited | None:
        """None for nobody."""
        return None if caller is None else cls(caller, server, trace)

    @property
    def user(self) -> Hashable:
        """The caller's."""
        return self._caller.user

    @property
    def lane(self) -> Lane:
        """The caller's."""
        return self._caller.lane

    @property
    def modern(self) -> bool:
        """The caller's."""
        return self._caller.modern

    @property
    def capabilities(self) -> Mapping[str, JSON]:
        """The caller's."""
        return self._caller.capabilities

    @property
    def level(self) -> str | None:
        """The caller's."""
        return self._caller.level

    @property
    def standing(self) -> Caller | None:
        """The caller's, recorded as well."""
        return Audited.maybe(self._caller.standing, self._server, self._trace)

    async def answer(self, method: str, params: Mapping[str, JSON]) -> JSON:
        """Put the question to the caller, and record that.

        Raises:
            ProtocolError: as the caller's.
        """
        return await self._trace.question(self._server, method, params, self._caller.answer(method, params))

    async def tell(self, method: str, params: Mapping[str, JSON]) -> None:
        """The caller's."""
        await self._caller.tell(method, params)
