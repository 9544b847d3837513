"""Embedded tools kept between runs: the same scores without the work, never a request, never a stale or broken file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mcp_dualtune.engine import vector_file as module
from mcp_dualtune.engine.base import RankRequest
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.engine.vector_file import VectorFile
from mcp_dualtune.prompting import Renderer
from mcp_dualtune.types import AdapterRef, Request, ServerSpec, ToolSpec
from tests.tiny_models import tiny_adapter, tiny_encoder

SERVER = ServerSpec(
    "files", "", tuple(ToolSpec("files", f"tool_{n}", f"Does thing number {n}.", {}, "") for n in range(4)), ""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH", 0.0)


def engine(folder: Path, path: Path, model: str = "m") -> EncoderEngine:
    return EncoderEngine(load_encoder(folder, "float32", threads=1), VectorFile(path, model))


def asked(made: EncoderEngine, text: str = "do the third thing", adapter: AdapterRef | None = None) -> RankRequest:
    prompt = Renderer.for_tokenizer(made.tokenizer).select(Request(text), SERVER)
    return RankRequest(prompt.tokens, prompt.option_tokens, adapter, prompt.stable)


def test_a_new_process_has_the_tools_and_scores_as_before(folder: Path, tmp_path: Path) -> None:
    first, path = engine(folder, tmp_path / "kept"), tmp_path / "kept"
    adapter = tiny_adapter(folder, tmp_path / "adapter", seed=1)
    scores = [first.rank(asked(first, adapter=one)).log_probabilities for one in (None, adapter)]
    second = engine(folder, path)
    found = [second.rank(asked(second, adapter=one)) for one in (None, adapter)]
    assert [one.log_probabilities for one in found] == scores
    options = sum(len(option) for option in asked(second).options)
    assert [one.cached_tokens for one in found] == [options, options]
    assert path.stat().st_mode & 0o077 == 0


def test_requests_are_not_kept(folder: Path, tmp_path: Path) -> None:
    made = engine(folder, tmp_path / "kept")
    made.rank(asked(made, "a secret"))
    request = asked(made, "a secret").prompt
    assert any(passage == request for _, passage in made.vectors)
    assert all(passage != request for _, passage in VectorFile(tmp_path / "kept", "m").kept)


def test_little_work_is_not_worth_writing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH", 1000.0)
    made = engine(folder, tmp_path / "kept")
    made.rank(asked(made))
    assert not (tmp_path / "kept").exists()


def test_what_another_model_has_computed_is_not_used(folder: Path, tmp_path: Path) -> None:
    made = engine(folder, tmp_path / "kept")
    made.rank(asked(made))
    assert VectorFile(tmp_path / "kept", "m").kept
    assert not VectorFile(tmp_path / "kept", "other").kept


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_a_broken_file_is_replaced(
    folder: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kept").write_bytes(content)
    made = engine(folder, tmp_path / "kept")
    assert "is not used" in caplog.text
    made.rank(asked(made))
    assert VectorFile(tmp_path / "kept", "m").kept


def test_a_place_that_cannot_be_written_costs_nothing_else(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    made = engine(folder, tmp_path / "file" / "kept")
    assert len(made.rank(asked(made)).log_probabilities) == len(SERVER.tools) + 1
    assert "cannot be kept" in caplog.text


def test_the_least_recently_used_go_when_the_file_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 3 * 2 * 4 * 2)
    file = VectorFile(tmp_path / "kept", "m")
    rows = torch.ones(2, 4, dtype=torch.half)
    for number in range(4):
        file.add({("base", (number,)): rows * number}, 1.0)
        file.add({("base", (0,)): rows * 0}, 1.0)
    again = VectorFile(tmp_path / "kept", "m").kept
    assert list(again) == [("base", (2,)), ("base", (3,)), ("base", (0,))]
    assert torch.equal(again["base", (3,)], rows * 3)


def test_a_catalog_larger_than_the_memory_for_vectors_is_kept_as_well(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_dualtune.engine.encoder.KEPT_TEXTS", 2)
    made = engine(folder, tmp_path / "kept")
    assert len(made.rank(asked(made)).log_probabilities) == len(SERVER.tools) + 1
    assert len(VectorFile(tmp_path / "kept", "m").kept) > 2
