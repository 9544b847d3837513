"""Where traces are written: a file of JSON lines, or standard error for people.

Owns files and formats. It never masks: the recorder does that first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from mcp_dualtune.types import JSON


class JsonLinesSink:
    """Appends one JSON object a line; the file is made on the first event, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __str__(self) -> str:
        return str(self._path)

    def write(self, line: Mapping[str, JSON]) -> None:
        """Append one event and flush it.

        Raises:
            OSError: the file cannot be made or written.
        """
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
            )
        # Escaped surrogates and line separators keep every event on one valid line.
        self._file.write(json.dumps(line, default=str) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class StderrSink:
    """One short line an event, for `--verbose`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __str__(self) -> str:
        return "standard error"

    def write(self, line: Mapping[str, JSON]) -> None:
        """Print one event.

        Raises:
            OSError: the stream is gone.
        """
        rest = {
            key: value for key, value in line.items() if key not in ("at", "request", "event") and value is not None
        }
        text = json.dumps(rest, ensure_ascii=True, default=str)
        stream = self._stream or sys.stderr
        stream.write(f"[{line['request']}] {line['event']} {text[:2000]}\n")
        stream.flush()

    def close(self) -> None:
        """Leave the stream open: it is not ours."""
