"""Follows a config file while it is in use: every change that can be read is handed over, a broken one is refused.

Owns noticing and reading. Refuses to own: what a change means for what runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Never

import anyio
import anyio.to_thread

from mcp_dualtune.config import load_config
from mcp_dualtune.config.tree import Config
from mcp_dualtune.errors import DualTuneError

POLL_SECONDS = 1.0
"""The file is a few kilobytes: reading it is cheaper and surer than any notice of the operating system."""

logger = logging.getLogger(__name__)


async def follow(path: Path, take: Callable[[Config], object]) -> Never:
    """Read `path` now and after every change, and give `take` each config; `take` must not block.

    A change counts once two looks in a row saw the same bytes, so that a file is not read half written.
    """
    seen = await anyio.to_thread.run_sync(_content, path)
    taken: bytes | None = None
    while True:
        content = await anyio.to_thread.run_sync(_content, path)
        if content == seen and content != taken:
            taken = content
            try:
                take(await anyio.to_thread.run_sync(load_config, path))
            except DualTuneError as error:
                logger.warning("The changed config is refused; the one before it stays in use. %s", error)
        seen = content
        await anyio.sleep(POLL_SECONDS)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
