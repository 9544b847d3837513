"""A change of one file: from the bytes before to the bytes after, with a backup, written all at once or not at all.

Owns bytes, backups, permissions and links. Refuses to own: what is changed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcp_dualtune.errors import ConfigError

_MARK = "\ufeff"
"""The byte order mark that some Windows editors write; clients accept it, so it stays."""


@dataclass(frozen=True)
class Change:
    """What becomes of `file`; None as text stands for no file."""

    file: Path
    before: str | None
    after: str | None
    backup: Path | None = None
    """Where `before` is kept when the change is written."""
    spent: Path | None = None
    """A backup that is no longer needed once the change is written."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after


def read_text(file: Path) -> str | None:
    """The text of `file` with its own line ends; None when there is no file.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text.", hint="Save it as UTF-8; it was not changed.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror}.", hint="It was not changed.") from error


def split_mark(text: str) -> tuple[str, str]:
    """A byte order mark (or nothing), and the rest."""
    return (_MARK, text[1:]) if text.startswith(_MARK) else ("", text)


def write(change: Change) -> None:
    """Make the change: the backup first, then the file in one step, then the spent backup goes.

    Raises:
        ConfigError: the file changed since it was read, or cannot be written; it is as it was then.
    """
    if change.changes:
        if read_text(change.file) != change.before:
            raise ConfigError(f"{change.file} was changed by another program just now.", hint="Run the command again.")
        try:
            if change.backup is not None and change.before is not None:
                _replace(change.backup, change.before, like=change.file)
            if change.after is None:
                change.file.unlink()
            else:
                _replace(change.file, change.after, like=change.file)
        except OSError as error:
            hint = "It is as it was before."
            raise ConfigError(f"Cannot write {change.file}: {error.strerror}.", hint=hint) from error
    if change.spent is not None:
        with suppress(FileNotFoundError):
            change.spent.unlink()


def _replace(file: Path, text: str, *, like: Path) -> None:
    """Write `file` (what a link points to, not the link), with the permissions of `like` where that exists."""
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
        if like.exists():
            shutil.copymode(like, name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
