"""Nothing may outlive the gateway, however it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.leaks import WAYS, one_round, write_config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")
EXIT_CODES = {"stdin end": 0, "SIGTERM": 143, "SIGINT": 130, "SIGKILL": -9}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", WAYS)
def test_no_process_is_left_behind(way: str, tmp_path: Path) -> None:
    """`python -m benchmarks.leaks` does the same for 50 rounds."""
    config, servers = write_config(tmp_path)
    ended = one_round(way, config, servers)
    assert ended.started > servers
    assert ended.left == 0
    assert ended.exit_code == EXIT_CODES[way]
