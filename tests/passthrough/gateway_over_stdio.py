"""The gateway as a client starts it, without a model: `python gateway_over_stdio.py SERVERS_JSON`."""

from __future__ import annotations

import json
import sys
from typing import Any, cast

import anyio

from mcp_dualtune.config import Config, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server import announcing, passthrough
from mcp_dualtune.mcp_server.run import serve_stdio

# The machine may be busy; what happens when servers are late is tested elsewhere.
announcing.HANDSHAKE_PATIENCE = passthrough.START_PATIENCE = 90.0


async def main() -> None:
    """Serve the one server named on the command line."""
    entry = json.loads(sys.argv[1])
    options = ServerOptions(start_timeout=90, mode=entry.pop("mode"))
    entry["args"] = tuple(entry.pop("args", ()))
    config = Config((ServerConfig(options=options, **entry),), Settings(expose="all"))
    await serve_stdio(Gateway(config, pipeline=cast(Any, lambda: None)))


anyio.run(main)
