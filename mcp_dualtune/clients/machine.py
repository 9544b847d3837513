"""One user's machine as the clients see it: the system, the home folder, the environment and the project at hand.

Owns the folders in which programs keep settings on each system. Refuses to own: which client uses which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Everything that decides where a client's file lies, so that a test can be any machine."""

    system: str
    """As in `sys.platform`: `linux`, `darwin` or `win32`."""
    home: Path
    project: Path
    """The folder that `--scope project` is about."""
    environ: Mapping[str, str]

    def named(self, variable: str, otherwise: Path) -> Path:
        """The folder that an environment variable names, else `otherwise`."""
        return Path(self.environ[variable]) if self.environ.get(variable) else otherwise

    @property
    def dot_config(self) -> Path:
        """Where command-line programs keep settings: `~/.config`, on Windows the roaming folder."""
        if self.system == "win32":
            return self.named("APPDATA", self.home / "AppData" / "Roaming")
        return self.named("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def applications(self) -> Path:
        """Where desktop programs keep settings."""
        if self.system == "darwin":
            return self.home / "Library" / "Application Support"
        return self.dot_config

    @property
    def packages(self) -> Path:
        """Where Windows keeps the files of programs that came as packages."""
        return self.named("LOCALAPPDATA", self.home / "AppData" / "Local") / "Packages"
