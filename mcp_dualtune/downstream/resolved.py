"""A server's entry with its secrets in place, without ever blocking the event loop.

Owns waiting for the keyring, which may ask a person to unlock it. Refuses to own: what references are (`config`).
"""

from __future__ import annotations

import anyio.to_thread

from mcp_dualtune.config import ServerConfig, resolve


async def resolved(config: ServerConfig) -> ServerConfig:
    """The entry to connect with; it is for this connection only and never kept.

    Raises:
        ServerUnavailable: a reference stands for nothing; the message names it.
    """
    if any(reference.kind == "keyring" for reference in config.references):
        # Left alone when the time to start is over: nobody can be made to answer the keyring's dialogue.
        return await anyio.to_thread.run_sync(resolve, config, abandon_on_cancel=True)
    return resolve(config)
