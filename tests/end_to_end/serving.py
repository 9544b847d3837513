"""Starting `dualtune serve` over HTTP as a process and ending it again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 180.0
END_LIMIT = 60.0
COMMAND = [sys.executable, "-m", "mcp_dualtune"]


@contextmanager
def serving(
    config: Path, transport: str, options: tuple[str, ...] = ("--no-token",), **environment: str
) -> Iterator[str]:
    """The address of a server on a free port; it is ended by SIGTERM."""
    import os  # noqa: PLC0415

    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", str(config), "--transport", transport, "--port", "0", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    guard = threading.Timer(START_LIMIT, process.kill)
    guard.start()
    try:
        said = []
        while (line := process.stderr.readline()) and "listening on" not in line:
            said.append(line)
        assert line, "".join(said)
        guard.cancel()
        # Read on, so that a full pipe never blocks the server.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        yield line.split("listening on")[1].strip()
        process.terminate()
        assert process.wait(END_LIMIT) == 143
        reader.join(END_LIMIT)
    finally:
        guard.cancel()
        process.kill()
        process.wait(END_LIMIT)
        process.stderr.close()
