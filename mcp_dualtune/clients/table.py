"""The clients: where each one's config lies on each system, how it names the block of servers, and how we are written.

Owns one record per client. Refuses to own: the formats (`document`), and other servers' entries (`entries`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp_dualtune.clients.document import Format
from mcp_dualtune.clients.machine import Machine
from mcp_dualtune.errors import ConfigError

Scope = Literal["user", "project"]
Entry = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """One MCP client."""

    name: str
    title: str
    user: Callable[[Machine], Path]
    """Its file for all of a user's work."""
    project: str | None = None
    """Its file for one project, below the project's folder."""
    format: Format = "json"
    block: str = "mcpServers"
    typed: bool = False
    """Whether an entry says `"type": "stdio"`."""
    refresh: str = "Restart it."
    """What its user does so that it reads the file again."""

    def file(self, machine: Machine, scope: Scope) -> Path:
        """Where its config lies, whether it exists or not.

        Raises:
            ConfigError: it has no file for one project.
        """
        if scope == "user":
            return self.user(machine)
        if self.project is None:
            raise ConfigError(f"{self.title} has no config for one project.", hint="Leave out --scope project.")
        return machine.project / self.project

    def found(self, machine: Machine, scope: Scope) -> bool:
        """Whether it seems to be in use: its file is there, or the folder that only it makes."""
        if scope == "project" and self.project is None:
            return False
        file = self.file(machine, scope)
        return file.is_file() or (file.parent not in (machine.home, machine.project) and file.parent.is_dir())

    def entry(self, command: str, args: Iterable[str]) -> Entry:
        """How a server that is started as `command` with `args` is written in its config."""
        if self.name == "goose":
            return {
                "enabled": True,
                "type": "stdio",
                "name": "dualtune",
                "description": "Plain requests, carried out with the right tool of your servers",
                "cmd": command,
                "args": list(args),
                "envs": {},
                "env_keys": [],
                "timeout": 300,
            }
        return {**({"type": "stdio"} if self.typed else {}), "command": command, "args": list(args)}


def _claude_desktop(machine: Machine) -> Path:
    folder = machine.applications / "Claude"
    if machine.system == "win32":
        # Windows shows the packaged program (since 2026 the usual one) a roaming folder of its own.
        packaged = sorted(machine.packages.glob("Claude_*/LocalCache/Roaming"))
        folder = packaged[0] / "Claude" if packaged else folder
    return folder / "claude_desktop_config.json"


def _vscode(machine: Machine) -> Path:
    return machine.applications / "Code" / "User" / "mcp.json"


def _cline(machine: Machine) -> Path:
    own = machine.home / ".cline" / "data" / "settings"
    extension = machine.applications / "Code" / "User" / "globalStorage" / "saoudrizwan.claude-dev" / "settings"
    folder = extension if extension.is_dir() and not own.is_dir() else own
    return machine.named("CLINE_MCP_SETTINGS_PATH", folder / "cline_mcp_settings.json")


def _lm_studio(machine: Machine) -> Path:
    folder, older = machine.home / ".lmstudio", machine.home / ".cache" / "lm-studio"
    return (older if older.is_dir() and not folder.is_dir() else folder) / "mcp.json"


def _goose(machine: Machine) -> Path:
    on_windows = machine.system == "win32"
    folder = machine.dot_config / "Block" / "goose" / "config" if on_windows else machine.dot_config / "goose"
    return folder / "config.yaml"


_TABLE = (
    Client("claude-desktop", "Claude Desktop", _claude_desktop, refresh="Quit it altogether and start it again."),
    Client(
        "claude-code",
        "Claude Code",
        lambda machine: machine.named("CLAUDE_CONFIG_DIR", machine.home) / ".claude.json",
        project=".mcp.json",
        typed=True,
        refresh="Start a new session.",
    ),
    Client(
        "cursor",
        "Cursor",
        lambda machine: machine.home / ".cursor" / "mcp.json",
        project=".cursor/mcp.json",
        refresh="It reads the file anew; its settings show the servers under MCP.",
    ),
    Client(
        "vscode",
        "VS Code",
        _vscode,
        project=".vscode/mcp.json",
        block="servers",
        typed=True,
        refresh="Run `MCP: List Servers` and start it.",
    ),
    Client(
        "windsurf",
        "Windsurf",
        lambda machine: machine.home / ".codeium" / "windsurf" / "mcp_config.json",
        refresh="Refresh the servers in its settings.",
    ),
    Client(
        "zed",
        "Zed",
        lambda machine: machine.dot_config / ("Zed" if machine.system == "win32" else "zed") / "settings.json",
        project=".zed/settings.json",
        block="context_servers",
        refresh="It reads the file by itself.",
    ),
    Client("lm-studio", "LM Studio", _lm_studio, refresh="It reads the file by itself."),
    Client("cline", "Cline", _cline, refresh="It reads the file by itself."),
    Client("goose", "Goose", _goose, format="yaml", block="extensions", refresh="Start a new session."),
    Client(
        "gemini-cli",
        "Gemini CLI",
        lambda machine: machine.home / ".gemini" / "settings.json",
        project=".gemini/settings.json",
        refresh="Start a new session.",
    ),
    Client(
        "codex",
        "Codex",
        lambda machine: machine.named("CODEX_HOME", machine.home / ".codex") / "config.toml",
        project=".codex/config.toml",
        format="toml",
        block="mcp_servers",
        refresh="Start a new session.",
    ),
)
CLIENTS = {client.name: client for client in _TABLE}
"""By the name that the command line uses."""
