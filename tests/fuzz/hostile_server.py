"""An MCP server that answers calls with what no server should send.

Run it as `python -m tests.fuzz.hostile_server SEED`. It shakes hands and lists one tool like any other; the argument
`place` of a call says which of the seed's answers is given, and `ping` asks for an honest one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.fuzz.inputs import Inputs, as_text

TOOL = {
    "name": "echo",
    "description": "Give the text back.",
    "inputSchema": {"type": "object", "properties": {"place": {"type": "integer"}}},
}


def write(*lines: bytes) -> None:
    """Write lines as they are."""
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def reply(number: Any, **body: Any) -> bytes:
    """One well-formed message."""
    return as_text({"jsonrpc": "2.0", "id": number, **body}).encode("utf-8", "surrogatepass")


def answer(inputs: Inputs, number: Any) -> list[bytes]:
    """The lines that come instead of an honest answer."""
    result = inputs.result()
    honest = reply(number, result={"content": [{"type": "text", "text": "late"}]})
    kind = inputs.rng.random()
    if kind < 0.5:
        return [reply(number, result=result)]
    if kind < 0.58:
        return [reply(number, result=result), reply(number, result=inputs.result()), honest]
    if kind < 0.66:
        return [reply(number, error=inputs.mutated({"code": -32000, "message": "no", "data": {"x": 1}})), honest]
    if kind < 0.72:
        return [reply(inputs.value(1), result=result), reply(10**9, result={}), honest]
    if kind < 0.80:
        return [inputs.broken(as_text(inputs.message(modern=False))), honest]
    if kind < 0.86:
        return [inputs.broken(reply(number, result=result).decode("utf-8", "surrogatepass")), honest]
    if kind < 0.9:
        return [inputs.rng.randbytes(200).replace(b"\n", b""), honest]
    if kind < 0.93:
        asks = {
            "method": inputs.rng.choice(["sampling/createMessage", "elicitation/create", "roots/list", "ping", "x"])
        }
        return [reply(inputs.rng.choice([1, "a", number]), **asks, params=inputs.value()), honest]
    if kind < 0.96:
        told = {"progressToken": number, "progress": inputs.value(0), "total": inputs.value(0), "message": "x"}
        news = {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}
        return [as_text(news).encode("utf-8", "surrogatepass"), honest]
    if kind < 0.99:
        return [reply(number, result={"content": [{"type": "text", "text": "x" * 3_000_000}]})]
    return []


def main() -> None:
    """Serve until the input ends."""
    seed = sys.argv[1]
    for line in sys.stdin:
        message = json.loads(line)
        method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
        if number is None or method is None:
            continue
        if method == "initialize":
            info = {"name": "hostile", "version": "1"}
            known = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
            write(reply(number, result=known))
        elif method == "tools/list":
            write(reply(number, result={"tools": [TOOL]}))
        elif method == "tools/call" and "ping" in params.get("arguments", {}):
            write(reply(number, result={"content": [{"type": "text", "text": "pong"}], "structuredContent": {"x": 1}}))
        elif method == "tools/call":
            write(*answer(Inputs(f"{seed} {params['arguments']['place']}"), number))
        else:
            write(reply(number, error={"code": -32601, "message": "Method not found"}))


if __name__ == "__main__":
    main()
