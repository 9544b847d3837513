"""Machines of the three systems in a temporary folder, and where each client's file lies on them."""

from __future__ import annotations

from pathlib import Path

from mcp_dualtune.clients.machine import Machine

MAC, WINDOWS, LINUX = "darwin", "win32", "linux"
_MAC_APPS = "Library/Application Support"
_ROAMING = "AppData/Roaming"

PLACES: dict[str, dict[str, str]] = {
    "claude-desktop": {
        MAC: f"{_MAC_APPS}/Claude/claude_desktop_config.json",
        WINDOWS: f"{_ROAMING}/Claude/claude_desktop_config.json",
        LINUX: ".config/Claude/claude_desktop_config.json",
    },
    "claude-code": dict.fromkeys((MAC, WINDOWS, LINUX), ".claude.json"),
    "cursor": dict.fromkeys((MAC, WINDOWS, LINUX), ".cursor/mcp.json"),
    "vscode": {
        MAC: f"{_MAC_APPS}/Code/User/mcp.json",
        WINDOWS: f"{_ROAMING}/Code/User/mcp.json",
        LINUX: ".config/Code/User/mcp.json",
    },
    "windsurf": dict.fromkeys((MAC, WINDOWS, LINUX), ".codeium/windsurf/mcp_config.json"),
    "zed": {
        MAC: ".config/zed/settings.json",
        WINDOWS: f"{_ROAMING}/Zed/settings.json",
        LINUX: ".config/zed/settings.json",
    },
    "lm-studio": dict.fromkeys((MAC, WINDOWS, LINUX), ".lmstudio/mcp.json"),
    "cline": dict.fromkeys((MAC, WINDOWS, LINUX), ".cline/data/settings/cline_mcp_settings.json"),
    "goose": {
        MAC: ".config/goose/config.yaml",
        WINDOWS: f"{_ROAMING}/Block/goose/config/config.yaml",
        LINUX: ".config/goose/config.yaml",
    },
    "gemini-cli": dict.fromkeys((MAC, WINDOWS, LINUX), ".gemini/settings.json"),
    "codex": dict.fromkeys((MAC, WINDOWS, LINUX), ".codex/config.toml"),
}
"""Below the home folder."""
PROJECT = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "zed": ".zed/settings.json",
    "gemini-cli": ".gemini/settings.json",
    "codex": ".codex/config.toml",
}

JSON_FILE = """{
    // my servers
    "theme": "dark", /* kept */
    "BLOCK": {
        "git": {"command": "mcp-server-git", "args": ["--repository", "."], "env": {"TOKEN": "hush-hush-1"}},  // mine
    },
    "after": [1, 2,  3]
}
"""
FILES = {
    "goose": """\
# goose, as I like it
GOOSE_MODEL:   "gpt"
extensions:
  # what I use
  developer:
    enabled: true
    type: builtin
  git:
    enabled: true
    type: stdio
    name: git
    cmd: mcp-server-git   # the Python one
    args:
    - --repository
    - .
    envs: {TOKEN: hush-hush-1}

# the rest
GOOSE_MODE: auto
""",
    "codex": """\
model = "gpt"   # mine

[mcp_servers.git]
command = 'mcp-server-git'
args = [
  "--repository", ".",  # here
]
env = { TOKEN = "hush-hush-1" }

# whom I trust
[projects."/tmp/x"]
trust_level = "trusted"
""",
}
"""Files as their users have them: comments, odd spacing, servers of their own."""


def machine(system: str, folder: Path, **environ: str) -> Machine:
    """A machine whose home is `folder`/home and whose project is `folder`/project."""
    project = folder / "project"
    project.mkdir(exist_ok=True)
    return Machine(system, folder / "home", project, environ)
