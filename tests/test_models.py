"""Which model sits in which stage, with the models that come with the package."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from mcp_dualtune import models
from mcp_dualtune.catalog.catalog import Catalog, build_server
from mcp_dualtune.config import ModelSettings, Settings
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.int8 import Int8Linear
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.errors import ModelLoadError
from mcp_dualtune.models import ENCODER_DIGEST, embedded_model, encoder_folder, load_pipeline
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import Request
from tests.tiny_models import tiny_llama


@pytest.fixture(scope="module")
def embedded() -> Pipeline:
    return load_pipeline(Settings())


def test_the_encoder_chooses_and_reads_and_the_decoder_writes(embedded: Pipeline) -> None:
    assert isinstance(embedded.choosing.engine, EncoderEngine)
    assert isinstance(embedded.filling.engine, HFEngine)
    assert {one.manifest.stage for one in embedded.choosing.adapters.adapters} == {"route", "select", "arguments"}
    assert embedded.reader is not None
    assert embedded.reader.engine is embedded.choosing.engine
    assert {one.manifest.stage for one in embedded.filling.adapters.adapters} == {"arguments"}


def test_our_own_models_run_with_8_bit_weights_and_others_do_not(embedded: Pipeline, tmp_path: Path) -> None:
    def is_int8(pipeline: Pipeline) -> bool:
        engine = pipeline.filling.engine
        assert isinstance(engine, HFEngine)
        return any(isinstance(module, Int8Linear) for module in engine.model.modules())

    assert is_int8(embedded)
    assert not is_int8(load_pipeline(Settings(model=ModelSettings(precision="bf16"))))
    assert not is_int8(load_pipeline(Settings(model=ModelSettings(tiny_llama(tmp_path / "own")))))


def test_every_adapter_that_comes_along_is_used(embedded: Pipeline) -> None:
    for seat in (embedded.choosing, embedded.filling):
        assert seat.adapters.refused == {}
    listed = len(list(embedded_model().rglob("manifest.json")))
    assert len(embedded.choosing.adapters.adapters) + len(embedded.filling.adapters.adapters) == listed


def test_the_installed_encoder_is_the_one_we_trained_on() -> None:
    assert model_digest(encoder_folder()) == ENCODER_DIGEST


def test_another_encoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ENCODER_DIGEST", "0" * 64)
    with pytest.raises(ModelLoadError, match="not the one") as caught:
        load_pipeline(Settings())
    assert "Install" in caught.value.hint


def test_a_missing_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "ENCODER_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(ModelLoadError, match="no_such_package_anywhere") as caught:
        encoder_folder()
    assert "choosing" in caught.value.hint


def test_a_model_of_ones_own_does_everything_unless_told_otherwise(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "model")
    alone = load_pipeline(Settings(model=ModelSettings(folder, precision="float32")))
    assert alone.choosing is alone.filling
    helped = load_pipeline(Settings(model=ModelSettings(folder, choosing="encoder", precision="float32")))
    assert isinstance(helped.choosing.engine, EncoderEngine)
    assert helped.filling.engine.digest == alone.filling.engine.digest
    assert helped.reader is None


def test_the_embedded_models_read_what_stands_in_the_request(embedded: Pipeline) -> None:
    schema = {"properties": {"source": {"type": "string"}}, "required": ["source"]}
    files = build_server("disk", "", [{"name": "move", "inputSchema": schema}]).spec
    made = embedded.decide(Request("move ~/Bilder/Ätna-3.png", servers=("disk",)), Catalog((files,)), Event())
    assert made.arguments == {"source": "~/Bilder/Ätna-3.png"}
    assert made.stages[-1].adapter == "arguments (reading)"


def test_the_embedded_decoder_can_do_everything_alone() -> None:
    alone = load_pipeline(Settings(model=ModelSettings(choosing="model")))
    assert alone.choosing is alone.filling
