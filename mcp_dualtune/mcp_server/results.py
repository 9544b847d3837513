"""Decisions, trajectories and errors as MCP tool results in wire spelling.

Owns the translation of our errors to MCP, in this one place. Refuses to own the JSON of a decision (`records`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import mcp.types as mcp_types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from mcp_dualtune.errors import DualTuneError, ProtocolError, leaf_error
from mcp_dualtune.records import decision_json, error_json, trajectory_json
from mcp_dualtune.types import JSON, Decision, Step, ToolSpec, Trajectory

log = logging.getLogger(__name__)

Wire = dict[str, Any]
"""A `CallToolResult` in wire spelling; as a dict, so that a downstream's blocks pass through as they came."""
RESERVED_META = "io.modelcontextprotocol/"
"""Keys that belong to one hop of the protocol: forwarding them would show the client another server's stamp."""


def _text(text: str) -> Wire:
    return {"type": "text", "text": text}


def _complete(content: list[Any], **rest: JSON) -> Wire:
    return {
        "resultType": "complete",
        "content": content,
        **{key: value for key, value in rest.items() if value is not None},
    }


def decision_result(decision: Decision) -> Wire:
    """The answer of `plan`."""
    shown = decision_json(decision)
    return _complete([_text(json.dumps(shown, ensure_ascii=False))], structuredContent=shown, isError=False)


def found_result(found: list[Wire]) -> Wire:
    """The answer of `find_tools`."""
    lines = [f"{tool['server']}/{tool['name']}: {tool['description']}" for tool in found]
    text = "\n".join(lines) or "No tool fits."
    return _complete([_text(text)], structuredContent={"tools": found}, isError=False)


def own_result(text: str, structured: Mapping[str, JSON]) -> Wire:
    """The answer of a tool of ours: the same for people and for programs."""
    return _complete([_text(text)], structuredContent=dict(structured), isError=False)


def trajectory_result(trajectory: Trajectory) -> Wire:
    """The answer of `do`: the last call's blocks untouched, and the whole run as structured content."""
    shown = trajectory_json(trajectory, whole=False)
    last = trajectory.steps[-1].result if trajectory.steps else None
    final = trajectory.final
    if last is not None and last.structured is not None:
        shown["steps"][-1]["result"]["structured"] = last.structured
    if last is None or final.outcome == "ask" or trajectory.stopped_by in ("policy", "error"):
        content: list[Any] = [_text(say_outcome(trajectory))]
        failed = trajectory.stopped_by is not None
        meta = None
    else:
        content = [dict(block) for block in last.content]
        failed = last.is_error
        meta = own_meta(last.meta) or None
    return _complete(content, structuredContent=shown, isError=failed, _meta=meta)


def say_step(step: Step) -> str:
    """News of one finished call."""
    ended = "reported an error" if step.result.is_error else "answered"
    return f"{step.call.server}/{step.call.tool} {ended} after {step.ms:.0f} ms"


def say_outcome(trajectory: Trajectory) -> str:
    """How a run ended, in a sentence for the model or person that asked."""
    final = trajectory.final
    if trajectory.note:
        return trajectory.note
    if final.outcome == "ask":
        names = ", ".join(f"`{name}`" for name in final.missing)
        return (
            f"{final.question or 'A value is missing.'}"
            f" ({final.server}/{final.tool} needs {names}: send the request again with it.)"
        )
    if final.outcome == "none":
        return "None of the tools offered here fits this request."
    return "Nothing was left to do."


def own_meta(meta: JSON) -> dict[str, Any]:
    """Metadata without what belongs to one hop of the protocol."""
    if not isinstance(meta, Mapping):
        return {}
    return {key: value for key, value in meta.items() if not key.startswith(RESERVED_META)}


def wire_tool(tool: ToolSpec, name: str) -> Wire:
    """A downstream tool as the client sees it: as the server sent it, under its public name."""
    shown: Wire = {**tool.wire, "name": name}
    schema = tool.wire.get("inputSchema")
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        shown["inputSchema"] = dict(tool.input_schema)
    if "_meta" in shown and (meta := own_meta(shown.pop("_meta"))):
        shown["_meta"] = meta
    try:
        mcp_types.Tool.model_validate(shown, by_name=False)
    except ValidationError as error:
        # What a client cannot read would cost it the whole list.
        for problem in error.errors():
            shown.pop(str(problem["loc"][0]), None)
        shown |= {"name": name, "inputSchema": dict(tool.input_schema)}
    return shown


def _readable(key: str, value: JSON) -> bool:
    return isinstance(value, bool) if key.endswith("Hint") else key != "title" or isinstance(value, str)


def error_result(error: DualTuneError) -> Wire:
    """One of our errors as a result that the calling model can read and act on."""
    return _complete([_text(str(error))], structuredContent=error_json(error), isError=True)


def say_own_words(error: Exception) -> None:
    """Let a server's own JSON-RPC error pass whole, because it is the server's answer.

    Raises:
        MCPError: it is one.
    """
    leaf = leaf_error(error)
    if isinstance(leaf, ProtocolError) and leaf.code is not None:
        raise MCPError(leaf.code, leaf.said, leaf.data) from None


def refuse(error: Exception) -> NoReturn:
    """Answer with an error where a result cannot say that it is one.

    Raises:
        MCPError: always.
    """
    say_own_words(error)
    leaf = leaf_error(error)
    if isinstance(leaf, DualTuneError):
        raise MCPError(mcp_types.INTERNAL_ERROR, str(leaf), error_json(leaf)) from None
    translate(error)
    raise AssertionError("translate raises every other error")


def translate(error: Exception) -> Wire:
    """The result for an error of ours; anything unknown becomes a bare internal error, its text only in our log.

    Raises:
        MCPError: `error` is a protocol error already, or is none of ours.
    """
    leaf = leaf_error(error)
    if isinstance(leaf, DualTuneError):
        return error_result(leaf)
    if isinstance(leaf, MCPError):
        raise leaf
    # The text of an unknown error may quote a prompt or an argument, so it is for whoever asks for more (--verbose).
    log.error("unexpected %s while serving a request", type(leaf).__name__)
    log.debug("where it came from", exc_info=error)
    raise MCPError(mcp_types.INTERNAL_ERROR, "Internal error; the server's log has the details.") from None
