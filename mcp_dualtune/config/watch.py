"""Follows a config file while it is in use: every change that can be read is handed over, a broken one is refused.

Owns noticing and reading. Refuses to own: what a change means for what runs.
"""

from __future__ import annotations

import logging
import os
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

    A change counts once two looks in a row saw the same, so that a file is not read half written.
    """
    seen = await anyio.to_thread.run_sync(_look, path)
    taken: _Look | None = None
    while True:
        look = await anyio.to_thread.run_sync(_look, path)
        if look == seen and look != taken:
            read = await anyio.to_thread.run_sync(_read, path)
            after = await anyio.to_thread.run_sync(_look, path)
            if after == look:
                taken = look
                if isinstance(read, Config):
                    take(read)
                else:
                    logger.warning("The changed config is refused; the one before it stays in use. %s", read)
            # Else it was written meanwhile, and what was read may be half of it.
            look = after
        seen = look
        await anyio.sleep(POLL_SECONDS)


_Look = tuple[int, bytes]
"""Time of the last change, and content."""


def _look(path: Path) -> _Look | None:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
    except OSError:
        return None


def _read(path: Path) -> Config | DualTuneError:
    try:
        return load_config(path)
    except DualTuneError as error:
        return error
