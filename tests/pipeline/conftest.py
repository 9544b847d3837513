"""Fixtures of the pipeline's tests."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.pipeline.decide import Pipeline
from tests.naming_engine import NamingEngine, byte_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One for all tests: making it imports transformers."""
    return byte_tokenizer()


@pytest.fixture
def engine(tokenizer: Any) -> NamingEngine:
    """The engine that a test tells what to answer."""
    return NamingEngine(tokenizer)


@pytest.fixture
def pipeline(engine: NamingEngine) -> Pipeline:
    """The pipeline on that engine, without any adapter."""
    return Pipeline.for_engine(engine, AdapterStore((), engine.digest))
