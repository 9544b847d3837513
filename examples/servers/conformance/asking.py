"""Asking the client for something in the middle of a request, in both protocol eras.

With a back-channel (up to 2025-11-25) the questions are pushed one after the other while the request waits. Without
one, the request is answered with the questions, and the client repeats it with the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp.types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

MODERN = "2026-07-28"
"""The first version without a back-channel; versions are dates, so they compare as text."""
Context = ServerRequestContext[Any, Any]
Asking = types.CallToolRequestParams | types.GetPromptRequestParams
Question = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
Answer = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult

NEEDS: dict[type[Question], types.ClientCapabilities] = {
    types.ElicitRequest: types.ClientCapabilities(elicitation=types.ElicitationCapability()),
    types.CreateMessageRequest: types.ClientCapabilities(sampling=types.SamplingCapability()),
    types.ListRootsRequest: types.ClientCapabilities(roots=types.RootsCapability()),
}
ANSWERS: dict[type[Question], type[Answer]] = {
    types.ElicitRequest: types.ElicitResult,
    types.CreateMessageRequest: types.CreateMessageResult,
    types.ListRootsRequest: types.ListRootsResult,
}


class Unanswered(Exception):
    """The request cannot end before the client has answered; only where there is no back-channel."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("The client has to answer first.")
        self.result = result


def form(message: str, properties: Mapping[str, Any], required: list[str] | None = None) -> types.ElicitRequest:
    """A question to the user, as a form."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required is not None:
        schema["required"] = required
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, limit: int = 100) -> types.CreateMessageRequest:
    """A question to the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=limit))


def can_answer(ctx: Context, question: Question) -> bool:
    """Whether the client declared that it answers questions of this kind."""
    return ctx.session.check_client_capability(NEEDS[type(question)])


async def ask(
    ctx: Context, params: Asking, questions: Mapping[str, Question], state: str | None = None
) -> dict[str, Answer]:
    """The answers to `questions`, by the same keys.

    Args:
        state: what the client has to send back with its answers; the server seals it.

    Raises:
        Unanswered: there is no back-channel, and the request does not carry all the answers yet.
        MCPError: the client did not declare that it answers such questions.
    """
    for question in questions.values():
        if not can_answer(ctx, question):
            needed = types.MissingRequiredClientCapabilityErrorData(required_capabilities=NEEDS[type(question)])
            raise MCPError(
                types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                f"The client does not support {question.method}.",
                needed.model_dump(by_alias=True, mode="json", exclude_none=True),
            )
    if ctx.protocol_version < MODERN:
        related = ServerMessageMetadata(related_request_id=ctx.request_id)
        return {
            key: await ctx.session.send_request(question, ANSWERS[type(question)], metadata=related)
            for key, question in questions.items()
        }
    given = params.input_responses or {}
    answers: dict[str, Answer] = {}
    missing: dict[str, Question] = {}
    for key, question in questions.items():
        answer = given.get(key)
        if isinstance(answer, ANSWERS[type(question)]):
            answers[key] = answer
        else:
            missing[key] = question
    if missing:
        raise Unanswered(types.InputRequiredResult(input_requests=missing, request_state=state))
    return answers
