"""The environment of a server that we start: what any program needs, and what its entry gives it.

Owns which variables a child inherits. Everything else of ours stays with us: tokens in our environment are no business
of a server whose entry does not name them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

POSIX = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
WINDOWS = (
    "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE",
    "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
)  # fmt: skip
"""The lists of the MCP SDK, which other clients use too."""


def child_environment(
    given: Mapping[str, str], environ: Mapping[str, str] | None = None, *, windows: bool = sys.platform == "win32"
) -> dict[str, str]:
    """What a server's process gets: the inherited variables that are set here, and over them those `given`."""
    environ = os.environ if environ is None else environ
    # Windows compares names without case: `Path` in an entry replaces PATH instead of standing beside it.
    spelled = {name.upper() if windows else name: value for name, value in environ.items()}
    inherited = {name: spelled[name] for name in (WINDOWS if windows else POSIX) if name in spelled}
    # An exported shell function is code that a shell below the child would run.
    kept = {name: value for name, value in inherited.items() if not value.startswith("()")}
    return kept | {name.upper() if windows and name.upper() in WINDOWS else name: text for name, text in given.items()}
