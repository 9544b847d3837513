"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """One event loop flavour: the SDK's servers and uvicorn run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_user_config(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A developer's own config, state and adapters must not change what a test sees, nor a test change them."""
    monkeypatch.delenv("DUALTUNE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
    monkeypatch.setenv("DUALTUNE_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("DUALTUNE_EXAMPLES", str(tmp_path_factory.mktemp("data") / "examples.jsonl"))
    monkeypatch.setenv("DUALTUNE_ADAPTERS", str(tmp_path_factory.getbasetemp() / "no-adapters"))
