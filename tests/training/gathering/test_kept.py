"""What a chat model wrote is used again by the same run, and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_dualtune.config import WriterSettings
from mcp_dualtune.errors import TrainingError
from mcp_dualtune.training.gathering.gathered import Gathered
from mcp_dualtune.training.gathering.kept import kept_or_written
from mcp_dualtune.types import ServerSpec
from tests.model_servers import listening
from tests.training.gathering.test_writer import GOOD, NOTES, Model


def ask(
    url: str, folder: Path | None, seed: int = 1, server: ServerSpec = NOTES, *, again: bool = False
) -> tuple[Gathered, list[str]]:
    lines: list[str] = []
    settings = WriterSettings(url=url, model="m", requests=3, seconds=10.0, retries=0)
    return kept_or_written(settings, (server,), seed, lines.append, folder, again=again), lines


def test_the_same_run_asks_once_and_another_one_for_itself(tmp_path: Path) -> None:
    model = Model(GOOD)
    with listening(model) as url:
        first, _ = ask(url, tmp_path)
        once = len(model.asked)
        second, lines = ask(url, tmp_path)
        assert second == first
        assert second.counts() == {"writer": 3}
        assert len(model.asked) == once
        assert lines == ["The 3 requests that m wrote before are used again."]
        ask(url, tmp_path, seed=2)
        ask(url, tmp_path, again=True)
        ask(url, tmp_path, server=replace(NOTES, fingerprint="0" * 64))
        ask(url, None)
    assert len(model.asked) == 5 * once


def test_a_kept_file_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    model = Model(GOOD)
    with listening(model) as url:
        ask(url, tmp_path)
        (path,) = tmp_path.iterdir()
        for text in ("", "[]", '{"examples": 1, "left_out": {}}', path.read_text().replace("buy milk", "x", 1)):
            path.write_text(text)
            assert ask(url, tmp_path)[0].counts() == {"writer": 3}
    assert len(model.asked) == 5


def test_a_folder_that_cannot_be_used_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with listening(Model(GOOD)) as url, pytest.raises(TrainingError, match="Cannot keep") as raised:
        ask(url, tmp_path / "file")
    assert "--runs" in raised.value.hint
