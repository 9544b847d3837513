"""The client of the suite's `auth/*` scenarios: our own connection and login, with a browser that agrees to everything.

Run by the suite as `python -m tests.conformance.auth_client URL`; the scenario's credentials come in the environment.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import httpx2

from mcp_dualtune.config import OAuthSettings, ServerConfig, ServerOptions
from mcp_dualtune.downstream.connection import MODERN, Connection
from mcp_dualtune.downstream.login import log_in
from mcp_dualtune.errors import LoginRequired, ServerUnavailable, leaf_error

LIMIT = 60.0
LOGINS = 3
"""How often the person behind this client is willing to log in."""
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The suite's own name for a client metadata document."""


async def browser(address: str) -> None:
    """Go to the login page and back."""
    async with httpx2.AsyncClient(follow_redirects=True, timeout=LIMIT) as client:
        await client.get(address)


def settings(context: dict[str, Any]) -> OAuthSettings:
    """What a user would write into the config for this scenario."""
    machine = os.environ.get("MCP_CONFORMANCE_SCENARIO", "").startswith("auth/client-credentials")
    return OAuthSettings(
        grant="client_credentials" if machine else "authorization_code",
        client_id=context.get("client_id"),
        client_secret=context.get("client_secret"),
        client_metadata_url=DOCUMENT,
    )


async def use(config: ServerConfig) -> None:
    """Connect and call every tool."""
    connection = Connection(config)
    async with anyio.create_task_group() as group:
        group.start_soon(connection.run)
        await connection.ready.wait()
        for tool in connection.tools:
            await connection.call(str(tool["name"]), {})
        connection.stop()


async def main(url: str) -> None:
    """Use the server; log in when it asks, with the rights it asks for."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    modern = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "") >= MODERN
    options = ServerOptions(mode="auto" if modern else "legacy", oauth=settings(context), start_timeout=LIMIT)
    with tempfile.TemporaryDirectory() as folder, anyio.fail_after(LIMIT):
        config = ServerConfig("peer", "http", url=url, options=options, state=Path(folder))
        for _ in range(LOGINS):
            try:
                return await use(config)
            except Exception as error:
                leaf = leaf_error(error)
                if not isinstance(leaf, LoginRequired):
                    raise
                words = shlex.split(leaf.hint.strip("`.").removeprefix("Run `"))
                scope = words[words.index("--scope") + 1] if "--scope" in words else None
                await log_in(config, browser, scope=scope)
        raise ServerUnavailable("It asks for one login after the other.")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
