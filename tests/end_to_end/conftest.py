"""A config with a real server and a tiny random model, as a file that `dualtune` can be given."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import tiny_llama

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 180
"""Seconds for a server to start; the machine may be busy with something else."""
NOTES = ROOT / "examples" / "servers" / "notes.py"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers nonsense, in the form that the tools' schemas allow."""
    return tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def write_config(model_folder: Path) -> Callable[..., Path]:
    """Write a config into a folder, with the notes server and any settings of ours."""

    def write(folder: Path, **own: Any) -> Path:
        notes = {"command": sys.executable, "args": [str(NOTES), str(folder / "notes")]}
        patient = {"notes": {"start_timeout": START_LIMIT}}
        # In the file and not in the environment, because clients do not pass the environment on.
        block = {"model": {"path": str(model_folder)}, "servers": patient, "state": str(folder / "state"), **own}
        file = folder / "config.json"
        file.write_text(json.dumps({"mcpServers": {"notes": notes}, "dualtune": block}), encoding="utf-8")
        return file

    return write
