"""Node and the npm packages of the conformance suite and of the foreign clients, in the ignored folder `.node`.

Owns their versions and where they lie. Standard library only: `make install` runs it as
`python -m tests.conformance.packages` before there is an environment.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".node" / "peers"
MODULES = FOLDER / "node_modules"
SUITE = "npm:@modelcontextprotocol/conformance"
PACKAGES = {
    "conformance-stable": f"{SUITE}@0.1.16",
    "conformance-next": f"{SUITE}@0.2.0-alpha.12",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/inspector": "2.12.0",
}
NODE_MAJOR = 22
"""The suite reads its own files with functions that Node has since this version."""
INSTALL_SECONDS = 300
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
_MACHINE = platform.machine().lower()
PLATFORM = f"node-{platform.system().lower()}-{_MACHINES.get(_MACHINE, _MACHINE)}"
"""The npm package that is Node itself, for this machine."""


class NodeMissing(Exception):
    """Node or a package is not here; the message says what to do."""


def install() -> None:
    """Install what is not there yet; needs npm and, the first time, the network.

    Raises:
        NodeMissing: there is no npm, or it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NodeMissing("npm is not here: install Node 20 or newer.")
    wanted = {**PACKAGES}
    if _major(shutil.which("node")) < NODE_MAJOR:
        wanted[PLATFORM] = str(NODE_MAJOR)
    manifest = FOLDER / "package.json"
    text = json.dumps({"private": True, "dependencies": wanted}, indent=1)
    stamp = FOLDER / ".installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    manifest.write_text(text, encoding="utf-8")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode:
        raise NodeMissing(f"npm could not install the packages: {done.stderr.strip()[-1000:]}")
    stamp.write_text(text, encoding="utf-8")


def node() -> str:
    """The Node that is new enough: the machine's own, or the one from npm.

    Raises:
        NodeMissing: neither is here.
    """
    installed = MODULES / PLATFORM / "bin" / "node"
    for found in (shutil.which("node"), str(installed) if installed.exists() else None):
        if found is not None and _major(found) >= NODE_MAJOR:
            return found
    raise NodeMissing(f"Node {NODE_MAJOR} is not here: run `make install` where npm is.")


def script(package: str, path: str) -> str:
    """A file of an installed package.

    Raises:
        NodeMissing: the package is not installed.
    """
    file = MODULES / package / path
    if not file.exists():
        raise NodeMissing(f"{package} is not here: run `make install` where npm is.")
    return str(file)


def environment() -> dict[str, str]:
    """The variables for a Node process: ours, and that Node first on the path."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(node()).parent), os.environ.get("PATH", "")])}


def _major(program: str | None) -> int:
    if program is None:
        return 0
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    return int(said.strip().lstrip("v").split(".")[0] or 0)


if __name__ == "__main__":
    try:
        install()
    except NodeMissing as missing:
        # Optional: what needs these packages says itself that it is left out.
        sys.stderr.write(f"Going on without the conformance suite and the foreign clients. {missing}\n")
