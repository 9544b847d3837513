"""Where traces and the audit log are written: a file of JSON lines, or standard error for people.

Owns files, their size and formats. It never masks: the recorder does that first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from mcp_dualtune.state import append_private
from mcp_dualtune.tracing.events import TRACE, Kind
from mcp_dualtune.types import JSON


class JsonLinesSink:
    """Appends one JSON object a line; the file is made on the first event, readable by its owner only.

    With `max_bytes`, a file that has grown to that is put aside as `<file>.1`, and at most `keep` such are kept.
    Several processes may write to one file: each line is one write, and who finds the file put aside goes on with the
    new one.
    """

    def __init__(self, path: Path, kinds: frozenset[Kind] = TRACE, max_bytes: int | None = None, keep: int = 0) -> None:
        self.kinds = kinds
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._file: TextIO | None = None

    def __str__(self) -> str:
        return str(self._path)

    def write(self, line: Mapping[str, JSON]) -> None:
        """Append one event and flush it.

        Raises:
            OSError: the file cannot be made or written.
        """
        file = self._open()
        # Escaped surrogates and line separators keep every event on one valid line.
        file.write(json.dumps(line, default=str) + "\n")
        file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIO:
        """The file to write to, which is another one when this one is full or was put aside."""
        if self._file is not None and self._max_bytes is not None:
            mine = os.fstat(self._file.fileno())
            if mine.st_size >= self._max_bytes and self._is_current(mine):
                self.close()
                self._put_aside()
            elif not self._is_current(mine):
                self.close()
        if self._file is None:
            self._file = append_private(self._path)
        return self._file

    def _is_current(self, mine: os.stat_result) -> bool:
        try:
            return os.path.samestat(mine, self._path.stat())
        except OSError:
            return False

    def _put_aside(self) -> None:
        # Where a file cannot be renamed (another process has it open on Windows), it grows on.
        with suppress(OSError):
            if self._keep == 0:
                self._path.unlink()
                return
            for number in range(self._keep - 1, 0, -1):
                older = self._aside(number)
                if older.exists():
                    older.replace(self._aside(number + 1))
            self._path.replace(self._aside(1))

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class StderrSink:
    """One short line an event, for `--verbose`."""

    kinds = TRACE

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
            key: value
            for key, value in line.items()
            if key not in ("at", "request", "event", "door", "client") and value is not None
        }
        text = json.dumps(rest, ensure_ascii=True, default=str)
        stream = self._stream or sys.stderr
        stream.write(f"[{line['request']}] {line['event']} {text[:2000]}\n")
        stream.flush()

    def close(self) -> None:
        """Leave the stream open: it is not ours."""
