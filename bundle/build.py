"""The MCPB bundle: what `make bundle` puts into one file that desktop clients install with a click.

    python -m bundle.build dist/mcp-dualtune.mcpb

The bundle carries our source and the embedded model, and no dependencies: the host installs those with uv from
pyproject.toml (`server.type` is `uv`), because torch is another build on every system. The official `mcpb` tool checks
the manifest and packs; it is looked for in `.node`, where `make install` puts it, and on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = ("pyproject.toml", "README.md", "LICENSE", "mcp_dualtune", "adapters/nano")
"""What stands in the bundle beside the manifest: what the package is built from."""


def stage(folder: Path) -> None:
    """Put the bundle's files into `folder`: those of `CONTENTS` that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *CONTENTS],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "bundle" / "manifest.json", folder / "manifest.json")


def tool() -> str | None:
    """The `mcpb` program; None when it is not installed."""
    return shutil.which("mcpb", path=ROOT / ".node" / "node_modules" / ".bin") or shutil.which("mcpb")


def main() -> None:
    """Stage, check and pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", default=ROOT / "dist" / "mcp-dualtune.mcpb")
    options = parser.parse_args()
    program = tool()
    if program is None:
        raise SystemExit("The `mcpb` tool is not here: run `make install` with Node 20 or newer.")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dualtune-bundle-") as scratch:
        stage(Path(scratch))
        subprocess.run([program, "validate", str(Path(scratch) / "manifest.json")], check=True)
        subprocess.run([program, "pack", scratch, str(options.output.resolve())], check=True)


if __name__ == "__main__":
    main()
