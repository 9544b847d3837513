"""Questions that a handshake server pushes while it works: elicitation, sampling, roots.

Owns declaring to the server that it may ask, and putting what it asks to the one client it can belong to. Refuses to
own who that is (`questions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp.types as wire_types
from pydantic import BaseModel, ValidationError

from mcp_dualtune.downstream.questions import Askers, put
from mcp_dualtune.errors import ProtocolError


def callbacks(askers: Askers) -> dict[str, Any]:
    """The callbacks of a session that carry its server's questions.

    A callback declares the capability; whether that can be kept is known only when a question comes.
    """

    async def elicit(_: Any, params: Any) -> Any:
        return await _answer(askers, wire_types.ElicitRequest(params=params))

    async def sample(_: Any, params: Any) -> Any:
        return await _answer(askers, wire_types.CreateMessageRequest(params=params))

    async def list_roots(_: Any) -> Any:
        return await _answer(askers, wire_types.ListRootsRequest())

    return {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "sampling_capabilities": wire_types.SamplingCapability(tools=wire_types.SamplingToolsCapability()),
        "list_roots_callback": list_roots,
    }


async def _answer(askers: Askers, question: BaseModel) -> BaseModel:
    data = question.model_dump(by_alias=True, mode="json", exclude_none=True)
    method, params = data["method"], data.get("params") or {}
    try:
        with askers.asking():
            answer = await put(askers.current(), method, params)
        return _answer_type(method, params).model_validate(answer, by_name=False)
    except ValidationError:
        return wire_types.ErrorData(code=wire_types.INTERNAL_ERROR, message="The client's answer is not valid.")
    except ProtocolError as error:
        code = wire_types.INTERNAL_ERROR if error.code is None else error.code
        return wire_types.ErrorData(code=code, message=error.said, data=error.data)


def _answer_type(method: str, params: Mapping[str, Any]) -> type[BaseModel]:
    if method == "elicitation/create":
        return wire_types.ElicitResult
    if method == "roots/list":
        return wire_types.ListRootsResult
    return wire_types.CreateMessageResultWithTools if params.get("tools") else wire_types.CreateMessageResult
