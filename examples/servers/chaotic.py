"""An MCP server whose calls say how they go wrong, over every transport: what a soak test needs. Standard library only.

    python chaotic.py FOLDER [--transport stdio|http|sse] [--port N]

Its tool `echo` takes `text` and `fault`; without a fault it gives the text back. Each call that runs is one line in
FOLDER/ledger, so that nobody can repeat a call unseen. A file FOLDER/slow makes the next start slow by the seconds that
it holds, and is used up by that.

hang      never answers                       crash     ends in the middle of the call
late      answers after half a second         half      ends in the middle of its answer
garbage   nonsense before its answer          error     answers with a JSON-RPC error
twice     gives its answer two times          stranger  first answers what nobody asked
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = ("hang", "crash", "late", "half", "garbage", "error", "twice", "stranger")
TEXT = {"type": "string"}
ECHO = {
    "name": "echo",
    "description": "Give the text back.",
    "inputSchema": {"type": "object", "properties": {"text": TEXT, "fault": TEXT}, "required": ["text"]},
}
LATE_SECONDS = 0.5
Send = Callable[[bytes], None]
"""Puts one line, message or not, on the wire to the client."""


class Chaos:
    """The server behind every transport."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ledger = (folder / "ledger").open("a", encoding="utf-8")
        slow = folder / "slow"
        with contextlib.suppress(OSError):
            pause = float(slow.read_text(encoding="utf-8"))
            slow.unlink()
            time.sleep(pause)

    def answer(self, message: dict[str, Any], send: Send) -> None:
        """Handle one message; what is sent, if anything, goes through `send`."""
        if "id" not in message:
            return
        method, params = message.get("method"), message.get("params") or {}
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "initialize":
            reply["result"] = {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "chaotic", "version": "1"},
            }
        elif method == "ping":
            reply["result"] = {}
        elif method == "tools/list":
            reply["result"] = {"tools": [ECHO]}
        elif method == "tools/call":
            self.call(reply, params.get("arguments", {}), send)
            return
        else:
            reply["error"] = {"code": -32601, "message": "Method not found"}
        send(encode(reply))

    def call(self, reply: dict[str, Any], arguments: dict[str, Any], send: Send) -> None:
        """Do what the call says, also where that is wrong."""
        text, fault = str(arguments.get("text", "")), arguments.get("fault")
        self.ledger.write(f"{text}\n")
        self.ledger.flush()
        if fault == "hang":
            return
        if fault == "crash":
            os._exit(7)
        if fault == "late":
            time.sleep(LATE_SECONDS)
        reply["result"] = {"content": [{"type": "text", "text": text}]}
        if fault == "error":
            del reply["result"]
            reply["error"] = {"code": -31999, "message": "out of paper"}
        if fault == "half":
            send(encode(reply)[:20])
            os._exit(8)
        if fault == "garbage":
            send(b'nonsense \x00\xff {"jsonrpc": "2.0"')
        if fault == "stranger":
            send(encode({**reply, "id": 10**9}))
        send(encode(reply))
        if fault == "twice":
            send(encode(reply))


def encode(message: dict[str, Any]) -> bytes:
    """One message as one line without its end."""
    return json.dumps(message).encode()


def serve_stdio(chaos: Chaos) -> None:
    """One client, whose calls run side by side."""
    lock = threading.Lock()

    def send(line: bytes) -> None:
        with lock:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()

    for line in sys.stdin.buffer:
        threading.Thread(target=chaos.answer, args=(json.loads(line), send), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Streamable HTTP at /mcp, with sessions that end with the process; the older SSE at /sse and /messages."""

    protocol_version = "HTTP/1.1"
    chaos: Chaos
    sessions: dict[str, queue.SimpleQueue[bytes]]

    def do_GET(self) -> None:
        """Open the stream of the older transport; the newer one has none here."""
        if self.path != "/sse":
            self.reply(405)
            return
        session, lines = uuid.uuid4().hex, queue.SimpleQueue[bytes]()
        self.sessions[session] = lines
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        event = b"event: endpoint\ndata: /messages?session=%s" % session.encode()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(event + b"\n\n")
                self.wfile.flush()
                try:
                    event = b"event: message\ndata: " + lines.get(timeout=1.0)
                except queue.Empty:
                    event = b": still here"
        del self.sessions[session]

    def do_POST(self) -> None:
        """Take one message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/messages"):
            lines = self.sessions.get(self.path.rpartition("=")[2])
            self.reply(202 if lines else 404)
            if lines:
                self.wfile.flush()
                self.chaos.answer(message, lines.put)
            return
        session = self.headers.get("Mcp-Session-Id", "")
        if message.get("method") == "initialize":
            session = uuid.uuid4().hex
            self.sessions[session] = queue.SimpleQueue()
        if session not in self.sessions:
            self.reply(404)
            return
        if "id" not in message:
            self.reply(202)
            return
        sent: list[bytes] = []
        self.chaos.answer(message, sent.append)
        if not sent:
            # Nobody answers: hold the connection until the client has had enough.
            with contextlib.suppress(OSError):
                self.connection.recv(1)
            self.close_connection = True
            return
        body = b"".join(b"event: message\ndata: " + line + b"\n\n" for line in sent)
        self.reply(200, body, session)

    def do_DELETE(self) -> None:
        """End a session."""
        self.sessions.pop(self.headers.get("Mcp-Session-Id", ""), None)
        self.reply(200)

    def reply(self, status: int, body: bytes = b"", session: str | None = None) -> None:
        """One whole answer."""
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if body:
                self.send_header("Content-Type", "text/event-stream")
            if session:
                self.send_header("Mcp-Session-Id", session)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    chaos = Chaos(options.folder)
    if options.transport == "stdio":
        serve_stdio(chaos)
        return
    Handler.chaos, Handler.sessions = chaos, {}
    with ThreadingHTTPServer(("127.0.0.1", options.port), Handler) as server:
        server.daemon_threads = True
        print("listening", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
