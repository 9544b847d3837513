"""An MCP server whose tools and instructions stand in a JSON file, read again for every list; for tests of pins.

Run it as `python listing_server.py FILE`; the file is `{"tools": [...], "instructions": "..."}`. A call answers with
the tool's name; one whose argument `announce` is true says that the list has changed first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def send(message: dict[str, object]) -> None:
    """Write one message as one line."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params") or {}
    offered = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if "id" not in message:
        continue
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "listing", "version": "1"},
            "instructions": offered.get("instructions", ""),
        }
    elif method == "tools/list":
        result = {"tools": offered["tools"]}
    elif method == "tools/call":
        if params.get("arguments", {}).get("announce"):
            send({"method": "notifications/tools/list_changed"})
        result = {"content": [{"type": "text", "text": params["name"]}]}
    else:
        send({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
        continue
    send({"id": message["id"], "result": result})
