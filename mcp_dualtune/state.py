"""Files that are kept between runs: for their owner only, and replaced whole or not at all.

Owns permissions and atomic writes. Refuses to own: where the folder is (`config`) and what stands in the files.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TextIO

OWNER_FOLDER, OWNER_FILE = 0o700, 0o600


def read_private(path: Path) -> str | None:
    """The text of a file, None when it is not there.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_private(path: Path, content: str | bytes) -> None:
    """Put `content` (text as UTF-8) in the place of the file; a reader sees the old or the new, never a part.

    Raises:
        OSError: it cannot be written.
    """
    _private_folder(path.parent)
    # `mkstemp` makes the file for its owner only.
    number, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(made).unlink()
        raise


def append_private(path: Path) -> TextIO:
    """Open a file for adding lines; one that others may read is closed to them first.

    Raises:
        OSError: it cannot be opened.
    """
    if not path.parent.exists():
        _private_folder(path.parent)
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_FILE)
    if os.name == "posix":
        with suppress(PermissionError):
            # Not ours to change, such as /dev/stderr or a pipe of another user.
            os.fchmod(number, OWNER_FILE)
    return os.fdopen(number, "a", encoding="utf-8")


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=OWNER_FOLDER, parents=True, exist_ok=True)
