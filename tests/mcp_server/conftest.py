"""A gateway with a real server behind it and stated answers of the model, and clients of both protocol eras."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client

from mcp_dualtune.config import Config, ModelSettings, ServerConfig, ServerOptions, Settings
from mcp_dualtune.gateway import Gateway
from mcp_dualtune.mcp_server.server import GatewayServer, build_server
from tests.naming_engine import NamingEngine, alone, byte_tokenizer

NOTES = Path(__file__).resolve().parents[2] / "examples" / "servers" / "notes.py"
START_LIMIT = 180
"""Seconds; the machine may be busy with something else."""
PATIENT = ServerOptions(start_timeout=START_LIMIT)


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings without the adapters that come with the package: the stated answers are not theirs."""
    return Settings(model=ModelSettings(path=folder), **changes)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For the module, so that the gateway below can live as long."""
    return "asyncio"


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One for all tests: making it imports transformers."""
    return byte_tokenizer()


@pytest.fixture(scope="module")
def engine(tokenizer: Any) -> NamingEngine:
    """The model, which answers what a test tells it to."""
    return NamingEngine(tokenizer, context_length=16_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the notes server keeps its notes."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
async def gateway(engine: NamingEngine, folder: Path) -> AsyncIterator[Gateway]:
    """Running, with the notes server as a real process."""
    notes = ServerConfig("notes", "stdio", command=sys.executable, args=(str(NOTES), str(folder)), options=PATIENT)
    async with Gateway(Config((notes,), settings(folder, expose="all")), pipeline=alone(engine)) as opened:
        with anyio.fail_after(START_LIMIT):
            await opened.wait_ready()
        yield opened


@pytest.fixture(scope="module")
def server(gateway: Gateway) -> GatewayServer:
    """What clients talk to."""
    return build_server(gateway)


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, server: GatewayServer) -> Callable[..., Client]:
    """Make a client of one protocol era; `auto` speaks the newest."""

    def make(**callbacks: Any) -> Client:
        return Client(server, mode=request.param, **callbacks)

    return make


@pytest.fixture(autouse=True)
def forget_answers(engine: NamingEngine) -> None:
    """What one test left unsaid must not answer the next."""
    engine.choices, engine.answers = [], []
