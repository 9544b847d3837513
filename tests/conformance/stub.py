"""What the suite starts as a client: hands the scenario's address to the runner, which is the client.

Run as `python -I -S stub.py PORT WAY URL`. It exists because the suite starts one process per scenario, and loading
the gateway takes seconds. Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import sys

LIMIT = 60.0
"""Seconds; the suite gives a scenario thirty."""


def main(port: str, way: str, url: str) -> str:
    """Ask the runner to use the server at `url`; what went wrong, or nothing."""
    wanted = {
        "way": way,
        "url": url,
        "scenario": os.environ.get("MCP_CONFORMANCE_SCENARIO", ""),
        "version": os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", ""),
        "context": json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")),
    }
    with socket.create_connection(("127.0.0.1", int(port)), timeout=LIMIT) as link:
        link.sendall(json.dumps(wanted).encode() + b"\n")
        return link.makefile(encoding="utf-8").read()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
