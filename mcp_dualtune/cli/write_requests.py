"""`write_requests`, a tool of `dualtune serve`: the client's own model writes requests for a later training.

Owns consent, and how a question becomes `sampling/createMessage`. It is here because only the command line may know
both the server and the training; that is imported when the tool is called first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp_dualtune.catalog.naming import near_names
from mcp_dualtune.errors import PolicyError, ProtocolError, RequestError
from mcp_dualtune.mcp_server.further import FurtherTool
from mcp_dualtune.mcp_server.questions import GO_AHEAD
from mcp_dualtune.mcp_server.results import Wire, own_result
from mcp_dualtune.types import JSON, ServerSpec

if TYPE_CHECKING:
    from mcp_dualtune.downstream.audited import Audited
    from mcp_dualtune.gateway import Gateway
    from mcp_dualtune.mcp_server.conversation import Conversation
    from mcp_dualtune.training.gathering.asking import Question

NAME = "write_requests"
SETTING = "dualtune.training.sampling"
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_RESULT: dict[str, Any] = {
    "written": {**_COUNTS, "description": "By tool, how many requests were written and kept."},
    "left_out": {**_COUNTS, "description": "By reason, how many answers were not taken."},
    "lacking": {"type": "array", "items": {"type": "string"}, "description": "Tools with too few requests so far."},
    "stopped": {"type": "string", "description": "Why it ended early; empty where it did not."},
    "consent": {"type": "string", "enum": ["user", "config"], "description": "Who agreed."},
}
WIRE: Wire = {
    "name": NAME,
    "title": "Write requests to train on",
    "description": "Asks your own model, through sampling, to write requests that people might make to the tools of one"
    " server, and keeps them for `dualtune train`. Calls none of its tools. Only for users who want to train adapters.",
    "inputSchema": {
        "type": "object",
        "properties": {"server": {"type": "string", "minLength": 1, "description": "Name of a server in the config."}},
        "required": ["server"],
        "additionalProperties": False,
    },
    "outputSchema": {"type": "object", "properties": _RESULT, "required": list(_RESULT)},
    "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
}


def write_requests(gateway: Gateway) -> tuple[FurtherTool, ...]:
    """The tool, where the config allows it and there is a place to keep what is written; else none."""
    settings = gateway.config.settings
    if not settings.training.sampling or settings.state is None:
        return ()

    async def work(conversation: Conversation, arguments: Mapping[str, JSON]) -> Wire:
        return await _work(gateway, conversation, str(arguments["server"]))

    return (FurtherTool(WIRE, work),)


async def _work(gateway: Gateway, conversation: Conversation, name: str) -> Wire:
    """Ask for consent, then for requests.

    Raises:
        RequestError: the client lends its model to nobody.
        PolicyError: the user said no.
        DualTuneError: the server is not there, or nothing can be kept.
    """
    from mcp_dualtune.training.gathering.sampled import FILE, sample

    if "sampling" not in conversation.capabilities:
        hint = "Another client may; or let a chat model write them when you train (dualtune.training.writer)."
        raise RequestError("This client lends its model to no server: it did not declare `sampling`.", hint=hint)
    server = await _server(gateway, name)
    caller = gateway.audited(conversation, name)
    asked = conversation.can_ask()
    if asked and not await _agreed(caller, server):
        raise PolicyError("The user did not agree that requests are written.", hint="Nothing was asked or kept.")

    async def ask(question: Question) -> tuple[Any, bool]:
        return _read(await caller.answer("sampling/createMessage", _sampling(question)))

    state = gateway.config.settings.state
    assert state is not None
    made = await sample(server, state / FILE, ask)
    shown: dict[str, JSON] = {
        "written": dict(made.written), "left_out": dict(made.left_out), "lacking": list(made.lacking),
        "stopped": made.stopped, "consent": "user" if asked else "config",
    }  # fmt: skip
    return own_result(_said(name, shown), shown)


async def _server(gateway: Gateway, name: str) -> ServerSpec:
    known = {server.name for server in gateway.config.servers}
    if name not in known:
        raise RequestError(f"The config has no server {name!r}.", hint=near_names(name, known))
    await gateway.wait_ready((name,))
    for state in gateway.server_states():
        if state.name == name and state.error is not None and name not in {one.name for one in gateway.catalog.servers}:
            raise state.error
    return gateway.catalog.server(name)


async def _agreed(caller: Audited, server: ServerSpec) -> bool:
    from mcp_dualtune.training.gathering.sampled import EACH, QUESTIONS

    message = (
        f"May your client's own model write requests for training adapters of the server {server.name!r}? It is shown "
        f"names, descriptions and schemas of its {len(server.tools)} tools, in up to {QUESTIONS} questions; no tool is "
        f"called. Up to {EACH} requests a tool are kept on this machine. Your model's provider may have terms for that."
    )
    form = {
        "type": "object",
        "properties": {GO_AHEAD: {"type": "boolean", "title": "Write them", "description": "Yes to let it write."}},
        "required": [GO_AHEAD],
    }
    try:
        params = {"mode": "form", "message": message, "requestedSchema": form}
        answer = await caller.answer("elicitation/create", params)
    except ProtocolError:
        return False
    return answer.get("action") == "accept" and (answer.get("content") or {}).get(GO_AHEAD) is True


def _sampling(question: Question) -> dict[str, JSON]:
    from mcp_dualtune.training.gathering.asking import LONGEST_ANSWER, TEMPERATURE

    return {
        "messages": [{"role": "user", "content": {"type": "text", "text": question.text}}],
        "systemPrompt": question.system,
        "maxTokens": LONGEST_ANSWER,
        "temperature": TEMPERATURE,
    }


def _read(answer: JSON) -> tuple[Any, bool]:
    """The text of a model's answer, and whether it was cut."""
    content = answer.get("content")
    blocks = content if isinstance(content, list) else [content]
    text = "".join(str(block.get("text", "")) for block in blocks if block and block.get("type") == "text")
    return text, answer.get("stopReason") == "maxTokens"


def _said(name: str, shown: Mapping[str, JSON]) -> str:
    lines = [f"{sum(shown['written'].values())} requests to {name} were written and kept."]
    lines += [f"Not taken, {count} times: {reason}." for reason, count in shown["left_out"].items()]
    if shown["stopped"]:
        lines.append(f"It ended early: {shown['stopped'].rstrip('.')}.")
    if shown["consent"] == "config":
        lines.append(f"Your client shows no forms, so {SETTING} in the config was taken for your consent.")
    if shown["lacking"]:
        lines.append(f"Call {NAME} again for more: {', '.join(shown['lacking'])}.")
    lines.append(f"`dualtune train {name}` learns from them.")
    return "\n".join(lines)
