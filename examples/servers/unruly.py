"""An MCP server that misbehaves on order: what a client must survive. Standard library only.

Run it as `python unruly.py MODE [NUMBER]`; without a mode it is well behaved. Modes:

slow N         answers the handshake after N seconds          dead           ends at once with status 3
crash          ends in the middle of every call               hang           never answers a call, until cancelled
garbage        a banner and nonsense between its messages     flood          endless nonsense, no MCP at all
endless-line   one line that never ends                       silent         reads and never answers
invalid-tool   one of its tools has no valid schema           empty-schema   a tool with `inputSchema: {}`
pages N        its tools come in N pages                      endless-pages  its list of tools never ends
big N          a call gives N MB of text                      modern-only    refuses the handshake (-32022)
stubborn       ignores SIGTERM and the end of its input,      error          answers a call with a JSON-RPC error
               and so do its child and grandchild             false-result   structured content against its own schema
changing       a call adds a tool and says so                 no-result      answers a call with what is no result
vendor         unknown fields and an unknown block type
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

ECHO = {
    "name": "echo",
    "description": "Give the text back.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
PAIR = {"name": "pair", "description": "A pair.", "inputSchema": {"type": "object"}}
PAIR_OUTPUT = {"type": "object", "properties": {"left": {"type": "integer"}}, "required": ["left"]}
MODERN = "2026-07-28"

lock = threading.Lock()
mode = sys.argv[1] if len(sys.argv) > 1 else ""
number = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
added: list[dict[str, Any]] = []


def send(message: dict[str, Any]) -> None:
    """Write one message as one line."""
    with lock:
        if mode == "garbage":
            sys.stdout.write("just saying\n{not json\n")
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def say(text: str) -> None:
    """Write to standard error, where a server may say what it likes."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def handshake(params: dict[str, Any]) -> dict[str, Any]:
    """Answer `initialize`."""
    if mode == "slow":
        time.sleep(number)
    return {
        "protocolVersion": params.get("protocolVersion", "2025-06-18"),
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": f"unruly {mode}".strip(), "version": "1"},
        "instructions": "Misbehaves on order.",
    }


def discover() -> dict[str, Any]:
    """Answer `server/discover` of the stateless protocol."""
    return {
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {}},
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
    }


def list_tools(params: dict[str, Any]) -> dict[str, Any]:
    """Answer `tools/list`."""
    page = int(params.get("cursor") or 0)
    if mode == "endless-pages" or (mode == "pages" and page < number):
        more = {"nextCursor": str(page + 1)} if mode == "endless-pages" or page + 1 < number else {}
        return {"tools": [{**ECHO, "name": f"echo_{page}"}], **more}
    tools: list[Any] = [ECHO, *added]
    if mode == "invalid-tool":
        tools += [{"name": "broken", "inputSchema": "what?"}, {"description": "no name"}, None]
    if mode == "empty-schema":
        tools.append({"name": "bare", "inputSchema": {}})
    if mode == "false-result":
        tools.append({**PAIR, "outputSchema": PAIR_OUTPUT})
    if mode == "vendor":
        tools = [{**ECHO, "x-vendor": {"cost": 3}}]
    return {"tools": tools, **({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if is_modern() else {})}


def is_modern() -> bool:
    """Say whether replies take the form of the stateless protocol."""
    return mode == "modern-only"


def call(params: dict[str, Any]) -> dict[str, Any]:
    """Answer `tools/call`."""
    text = str(params.get("arguments", {}).get("text", ""))
    if mode == "crash":
        say("about to fall over")
        os._exit(7)
    if mode == "big":
        text = "x" * int(number * 1_000_000)
    if mode == "changing":
        added.append({**ECHO, "name": f"echo_{len(added) + 2}"})
        send({"method": "notifications/tools/list_changed"})
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if mode == "false-result":
        result["structuredContent"] = {"left": "not a number"}
    if mode == "vendor":
        result = {
            "content": [{"type": "text", "text": text, "x-vendor": 1}, {"type": "hologram", "data": [1, 2]}],
            "structuredContent": {"deep": {"x": None}},
            "_meta": {"vendor/cost": 3},
        }
    if mode == "no-result":
        result = {"content": "just text"}
    return {**result, **({"resultType": "complete"} if is_modern() else {})}


def answer(message: dict[str, Any]) -> None:
    """Handle one message."""
    method, params = message.get("method"), message.get("params") or {}
    if method == "notifications/cancelled":
        say(f"cancelled {params.get('requestId')}")
    if "id" not in message or mode == "silent":
        return
    reply: dict[str, Any] = {"id": message["id"]}
    if method == "initialize" and mode == "modern-only":
        supported = {"supported": [MODERN], "requested": params.get("protocolVersion")}
        reply["error"] = {"code": -32022, "message": "Unsupported protocol version", "data": supported}
    elif method == "initialize":
        reply["result"] = handshake(params)
    elif method == "server/discover" and mode == "modern-only":
        reply["result"] = discover()
    elif method == "tools/list":
        reply["result"] = list_tools(params)
    elif method == "tools/call" and mode == "error":
        reply["error"] = {"code": -31999, "message": "out of paper", "data": {"tray": 2}}
    elif method == "tools/call" and mode == "hang":
        return
    elif method == "tools/call":
        reply["result"] = call(params)
    else:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    send(reply)


def ignore_the_end(generations: int) -> None:
    """Refuse to go politely, and see to it that a child and a grandchild do the same."""
    for polite in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(polite, signal.SIG_IGN)
    if generations:
        # The youngest also leaves the process group.
        command = [sys.executable, __file__, "stubborn-child", str(generations - 1), *sys.argv[3:]]
        subprocess.Popen(command, start_new_session=generations == 1, stdin=subprocess.DEVNULL)


def main() -> None:
    """Misbehave as ordered."""
    if mode == "dead":
        say("no licence found")
        sys.exit(3)
    if mode == "flood":
        while True:
            sys.stdout.write("nonsense\n" * 1000)
    if mode == "endless-line":
        while True:
            sys.stdout.write("x" * 1_000_000)
    if mode == "garbage":
        sys.stdout.buffer.write(b"Welcome!\n\x00\x01\xff\n")
    if mode in ("stubborn", "stubborn-child"):
        ignore_the_end(2 if mode == "stubborn" else int(number))
    if mode != "stubborn-child":
        for line in sys.stdin:
            if line.strip():
                answer(json.loads(line))
    while mode.startswith("stubborn"):
        time.sleep(60)


if __name__ == "__main__":
    main()
