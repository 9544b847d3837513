"""Tiny models that all engine tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.types import AdapterRef
from tests.tiny_models import tiny_adapter, tiny_llama, tiny_qwen2


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def qwen2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="session")
def adapters(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AdapterRef, ...]:
    """Three adapters of the tiny Llama with different weights."""
    root = tmp_path_factory.mktemp("adapters")
    return tuple(tiny_adapter(llama_folder, root / str(seed), seed=seed, name=f"select/{seed}") for seed in (1, 2, 3))


@pytest.fixture
def engine(llama_folder: Path) -> HFEngine:
    """A fresh float32 engine on the tiny Llama, with nothing cached."""
    return HFEngine(load_model(llama_folder, "float32", threads=1))
