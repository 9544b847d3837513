"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports between processes are UTF-8, and some tests are about text that is not, which may be in their logs."""
    return _encodable((yield))


def _encodable(part: Any) -> Any:
    if isinstance(part, str):
        return part.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(part, dict):
        return {_encodable(key): _encodable(value) for key, value in part.items()}
    return type(part)(_encodable(item) for item in part) if type(part) in (list, tuple) else part


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
