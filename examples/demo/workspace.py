"""The workspace of the demonstration: some files, a git repository with a little history, and a config for it all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NODE_BIN = ROOT / ".node" / "node_modules" / ".bin"
GIT_LIMIT = 30
"""Seconds for one git command."""

FILES = {
    "notes/shopping.md": "# Saturday\n- coffee beans\n- two lemons\n- bread flour\n",
    "notes/draft.txt": "Dear Ms Okafor,\n\nthank you for the quick reply.\n",
    "invoices/march.csv": "date,customer,amount\n2026-03-02,Okafor Ltd,1200.00\n2026-03-19,Brandt AG,310.50\n",
    "invoices/april.csv": "date,customer,amount\n2026-04-07,Okafor Ltd,980.00\n",
    "invoices/terms.txt": "Payment within 30 days.\n",
}
COMMITS = (
    ("Start the site", {"index.html": "<h1>Lisbon office</h1>\n", "style.css": "h1 { color: teal }\n"}),
    ("Add opening hours", {"hours.txt": "Mon-Fri 9-17\n"}),
    ("Close earlier on Fridays", {"hours.txt": "Mon-Thu 9-17\nFri 9-15\n"}),
    ("Make the title bigger", {"style.css": "h1 { color: teal; font-size: 3rem }\n"}),
)
MEMORIES = (
    {"type": "entity", "name": "Falcon", "entityType": "project", "observations": ["ships in June", "led by Ana"]},
    {"type": "entity", "name": "Ana", "entityType": "person", "observations": ["prefers tea", "works from Porto"]},
)


@dataclass(frozen=True)
class Workspace:
    """Where everything is, and which servers can be started here."""

    folder: Path
    files: Path
    repository: Path
    config: Path
    servers: tuple[str, ...]


def build(folder: Path) -> Workspace:
    """Make the workspace in an empty `folder`."""
    files, repository = folder / "files", folder / "site"
    for name, text in FILES.items():
        _write(files / name, text)
    _repository(repository)
    memory = folder / "memory.jsonl"
    memory.write_text("".join(json.dumps(entry) + "\n" for entry in MEMORIES), encoding="utf-8")
    servers = _servers(files, repository, memory)
    own = {
        "servers": {"git": {"arguments": {"repo_path": str(repository)}}},
        "state": str(folder / "state"),
        # The workspace is thrown away afterwards, so nothing in it needs a confirmation.
        "policy": [{"match": "*/*", "action": "allow"}],
    }
    config = folder / "config.json"
    config.write_text(json.dumps({"mcpServers": servers, "dualtune": own}, indent=2), encoding="utf-8")
    return Workspace(folder, files, repository, config, tuple(servers))


def _servers(files: Path, repository: Path, memory: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {
        "git": {"command": _beside_python("mcp-server-git"), "args": ["--repository", str(repository)]},
        "time": {"command": _beside_python("mcp-server-time"), "args": ["--local-timezone", "UTC"]},
    }
    filesystem, graph = NODE_BIN / "mcp-server-filesystem", NODE_BIN / "mcp-server-memory"
    if shutil.which("node") and filesystem.exists():
        found["filesystem"] = {"command": str(filesystem), "args": [str(files)], "cwd": str(files)}
    if shutil.which("node") and graph.exists():
        found["memory"] = {"command": str(graph), "env": {"MEMORY_FILE_PATH": str(memory)}}
    return found


def _beside_python(program: str) -> str:
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else program


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _repository(folder: Path) -> None:
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "config", "user.name", "Demo")
    _git(folder, "config", "user.email", "demo@example.com")
    _git(folder, "config", "commit.gpgsign", "false")
    for message, files in COMMITS:
        for name, text in files.items():
            _write(folder / name, text)
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "--message", message)
    _git(folder, "branch", "redesign")
    _write(folder / "style.css", "h1 { color: navy; font-size: 3rem }\n")
    _git(folder, "add", "style.css")
    _write(folder / "hours.txt", "Mon-Thu 9-17\nFri 9-13\n")
    _write(folder / "contact.txt", "hello@example.com\n")


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=GIT_LIMIT)
