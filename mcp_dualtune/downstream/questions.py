"""What a server may ask of the user while it works, and whom it asks.

Owns who can be asked what, finding the call that a question belongs to, and answering what a server of the stateless
protocol asks for before it answers. Refuses to own how a question reaches a person.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import anyio

from mcp_dualtune.errors import ProtocolError
from mcp_dualtune.types import JSON

Lane = Literal["shared", "own", "call"]
"""Whom a request may meet on its connection: everybody, its own session's requests only, or none at all."""

MAX_ROUNDS = 20
"""How often one request may ask for input; a server that never has enough must not hold a call for ever."""
LEFT_SECONDS = 60.0
"""How long a server that was told to stop a request may still ask for it; the protocol wants it to stop at once."""
NOT_DECLARED, NO_SUCH_METHOD = -32021, -32601
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Levels of log messages, from the most talkative one up."""


class Caller(Protocol):
    """Who made a request, as far as the server behind it may turn to them."""

    @property
    def user(self) -> Hashable:
        """Equal only for requests whose questions the same user may answer."""
        ...

    @property
    def lane(self) -> Lane:
        """Which connection carries the request."""
        ...

    @property
    def modern(self) -> bool:
        """Whether the client speaks the stateless protocol."""
        ...

    @property
    def capabilities(self) -> Mapping[str, JSON]:
        """What the client declared, in wire spelling."""
        ...

    @property
    def level(self) -> str | None:
        """The least level of log messages that it asked for; None when it never said."""
        ...

    @property
    def standing(self) -> Caller | None:
        """Who answers for the same user when none of its requests is running."""
        ...

    async def answer(self, method: str, params: Mapping[str, JSON]) -> JSON:
        """Put a question to the client and give its answer in wire spelling.

        Raises:
            ProtocolError: the client answered with an error.
        """
        ...

    async def tell(self, method: str, params: Mapping[str, JSON]) -> None:
        """Pass a notification on to the client."""
        ...


@dataclass(frozen=True)
class Forwarded:
    """What a client's own request carries besides what it asks for; handed on as it came."""

    fields: Mapping[str, JSON] = field(default_factory=dict)
    """`_meta`, `inputResponses`, `requestState` and whatever else stands in the parameters."""
    straight: bool = False
    """Whether the client itself takes a result that asks for input."""


def needed(method: str, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """The client capability without which this must not be asked."""
    if method == "elicitation/create":
        return {"elicitation": {"url" if params.get("mode") == "url" else "form": {}}}
    if method == "sampling/createMessage":
        return {"sampling": {"tools": {}} if params.get("tools") or params.get("toolChoice") else {}}
    return {"roots": {}}


def covers(declared: Mapping[str, JSON], wanted: Mapping[str, JSON]) -> bool:
    """Whether a client that declared `declared` can be asked what needs `wanted`."""
    for name, parts in wanted.items():
        have = declared.get(name)
        if not isinstance(have, Mapping):
            return False
        for part in parts:
            # An elicitation capability that names no mode means forms.
            if part not in have and not (part == "form" and "url" not in have):
                return False
    return True


def can_be_asked(declared: Mapping[str, JSON]) -> bool:
    """Whether a client that declared this can be asked anything at all."""
    return any(isinstance(declared.get(name), Mapping) for name in ("elicitation", "sampling", "roots"))


async def put(caller: Caller | None, method: str, params: Mapping[str, JSON]) -> JSON:
    """Put a server's question to `caller`.

    Raises:
        ProtocolError: there is nobody to ask, the client did not declare that it can be asked this, or it refused.
    """
    wanted = needed(method, params)
    if caller is None or not covers(caller.capabilities, wanted):
        kind = next(iter(wanted))
        raise ProtocolError(
            f"The client cannot be asked: it does not support {kind}.",
            code=NOT_DECLARED if caller is not None and caller.modern else NO_SUCH_METHOD,
            data={"requiredCapabilities": wanted},
            hint="Use a client that does, or a tool that does not ask.",
        )
    return await caller.answer(method, params)


async def settle(
    result: Mapping[str, JSON],
    caller: Caller | None,
    again: Callable[[Mapping[str, JSON]], Awaitable[Mapping[str, JSON]]],
) -> Mapping[str, JSON]:
    """Answer what a result asks for, and send the request `again` with it, until the result is complete.

    Raises:
        ProtocolError: a question cannot be answered, is none, or there is no end to them.
    """
    for _ in range(MAX_ROUNDS):
        if result.get("resultType") != "input_required":
            return result
        asked = result.get("inputRequests") or {}
        if not isinstance(asked, Mapping) or not all(isinstance(question, Mapping) for question in asked.values()):
            raise ProtocolError("The server asks for input in a form that is not MCP.")
        answers = {
            key: await put(caller, str(question.get("method")), question.get("params") or {})
            for key, question in asked.items()
        }
        state = result.get("requestState")
        result = await again({"inputResponses": answers} | ({} if state is None else {"requestState": state}))
    raise ProtocolError(f"The server asked {MAX_ROUNDS} times for more input and still did not answer.")


class Askers:
    """The callers whose requests run on one connection.

    A question that a server pushes does not say which request it belongs to. It is put to somebody only while it can
    belong to nobody else: while every request that is running, or was cancelled a while ago, is of one user.
    """

    def __init__(self) -> None:
        self._running: dict[object, Caller | None] = {}
        """By request, the latest one last."""
        self._users: Counter[Hashable] = Counter()
        """How many of them each user has; counted along, as every call of a hundred looks at it."""
        self._left: dict[Hashable, float] = {}
        self.standing: Caller | None = None
        """Who is asked while nothing runs; None for nobody."""
        self.asked = False
        """Whether the server has ever asked while it worked."""
        self._limits: dict[anyio.CancelScope, float] = {}
        self._questions = 0

    @contextmanager
    def running(self, caller: Caller | None) -> Iterator[None]:
        """`caller` has a request on this connection; one that ends without an answer counts for a while longer."""
        request, user = object(), None if caller is None else caller.user
        self._running[request] = caller
        self._users[user] += 1
        answered = False
        try:
            yield
            answered = True
        except ProtocolError:
            answered = True
            raise
        finally:
            del self._running[request]
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
            if not answered:
                self._left[user] = anyio.current_time() + LEFT_SECONDS

    def present(self) -> set[Hashable]:
        """The users whose requests the server may be asking for."""
        if self._left:
            now = anyio.current_time()
            self._left = {user: until for user, until in self._left.items() if until > now}
        return {*self._users, *self._left}

    def current(self) -> Caller | None:
        """Whom a question or message of the server belongs to; None when that is nobody, or not certain."""
        if not self._running:
            return self.standing
        return next(reversed(self._running.values())) if len(self.present()) == 1 else None

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """A limit for one request that stands still while anybody is asked: people need their time.

        Raises:
            TimeoutError: it is over.
        """
        with anyio.CancelScope() as scope:
            self._limits[scope] = seconds
            scope.deadline = math.inf if self._questions else anyio.current_time() + seconds
            try:
                yield
            finally:
                del self._limits[scope]
        if scope.cancelled_caught:
            raise TimeoutError

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A question waits for its answer."""
        self.asked = self.asked or bool(self._running)
        self._questions += 1
        self._wind()
        try:
            yield
        finally:
            self._questions -= 1
            self._wind()

    def _wind(self) -> None:
        for scope, seconds in self._limits.items():
            if self._questions:
                scope.deadline = math.inf
            elif scope.deadline == math.inf:
                scope.deadline = anyio.current_time() + seconds
