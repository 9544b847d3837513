"""Gateways with the fixture server behind them, shared by all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance import packages
from tests.conformance.endpoints import gateway
from tests.conformance.suites import Era


@pytest.fixture(scope="session")
def node() -> str:
    """A Node that is new enough, with the packages; tests that need it are skipped without it."""
    try:
        for package in packages.PACKAGES:
            packages.script(package, "package.json")
        return packages.node()
    except packages.NodeMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Era], str]]:
    """The address of a gateway whose fixture server speaks one era of the protocol; each is started once."""
    folder: Path = tmp_path_factory.mktemp("gateways")
    started: dict[Era, str] = {}
    with ExitStack() as stack:
        # Over HTTP, as a client that can be asked gets a connection of its own: over stdio, that is a process.
        def address(era: Era) -> str:
            if era not in started:
                started[era] = stack.enter_context(gateway(folder, era, "http"))
            return started[era]

        yield address
