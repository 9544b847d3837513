"""What others read before they install us: the registry's `server.json` and the manifest of the MCPB bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client, StdioServerParameters

import mcp_dualtune
from bundle.build import ROOT, stage, tool
from mcp_dualtune.mcp_server.exposure import own_tools

SCHEMA = Path(__file__).parent / "schemas" / "server.schema.2025-12-11.json"


def load(name: str) -> Any:
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    stage(folder)
    return folder


def test_the_registry_accepts_our_description() -> None:
    jsonschema.Draft7Validator(load(str(SCHEMA)), format_checker=jsonschema.FormatChecker()).validate(
        load("server.json")
    )


def test_all_versions_and_names_are_the_same() -> None:
    registry, manifest, own = load("server.json"), load("bundle/manifest.json"), project()
    (package,) = registry["packages"]
    versions = {registry["version"], package["version"], manifest["version"], own["version"], mcp_dualtune.__version__}
    assert len(versions) == 1
    assert package["identifier"] == manifest["name"] == own["name"]
    assert manifest["compatibility"]["runtimes"]["python"] == own["requires-python"]
    assert manifest["license"] == own["license"]
    # uvx starts the script that has the package's name.
    assert own["scripts"][own["name"]] == own["scripts"]["dualtune"]


def test_the_readme_proves_that_the_registry_entry_is_ours() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"<!-- mcp-name: (\S+) -->", readme)
    assert named == [load("server.json")["name"]]


def test_the_manifest_lists_the_tools_that_are_served() -> None:
    assert {tool["name"] for tool in load("bundle/manifest.json")["tools"]} == {tool["name"] for tool in own_tools()}


@pytest.mark.anyio
async def test_the_bundle_serves_as_its_manifest_says(staged: Path, tmp_path: Path) -> None:
    """The host's `uv run --directory BUNDLE dualtune ...`, with this interpreter in place of the one that uv makes."""
    config = tmp_path / "config.json"
    config.write_text('{"mcpServers": {}}', encoding="utf-8")
    launch = json.loads((staged / "manifest.json").read_text(encoding="utf-8"))["server"]
    assert (staged / launch["entry_point"]).is_file()
    args = launch["mcp_config"]["args"]
    assert args[: args.index("dualtune")] == ["run", "--directory", "${__dirname}", "--no-dev"]
    words = [word.replace("${user_config.config}", str(config)) for word in args[args.index("dualtune") + 1 :]]
    served = StdioServerParameters(command=sys.executable, args=["-m", "mcp_dualtune", *words], cwd=staged)
    with anyio.fail_after(60):
        async with Client(served, mode="legacy") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} >= {"do", "plan", "find_tools"}


@pytest.mark.node
@pytest.mark.skipif(tool() is None, reason="the mcpb tool is not installed")
def test_the_official_tool_accepts_the_manifest(staged: Path) -> None:
    done = subprocess.run(
        [str(tool()), "validate", str(staged / "manifest.json")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validation passes" in done.stdout
