"""Model servers in some stages or in all: who sits where, and what leaves the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.cli import exits
from mcp_dualtune.cli.main import main
from mcp_dualtune.config import ModelSettings, RemoteSettings, Settings
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.load import model_digest
from mcp_dualtune.engine.remote import RemoteEngine
from mcp_dualtune.errors import ModelLoadError
from mcp_dualtune.models import ENCODER_DIGEST, load_pipeline, seated_adapters
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import Request
from tests.model_servers import VllmLike, listening
from tests.pipeline.test_real_engine import CATALOG
from tests.tiny_models import tiny_adapter, tiny_manifest, tiny_qwen2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen2(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def vllm(folder: Path) -> VllmLike:
    return VllmLike(folder)


@pytest.fixture(scope="module")
def url(vllm: VllmLike) -> Iterator[str]:
    with listening(vllm) as address:
        yield address


@pytest.fixture
def load() -> Iterator[Any]:
    loaded: list[Pipeline] = []

    def pipeline(*remotes: RemoteSettings, **model: Any) -> Pipeline:
        loaded.append(load_pipeline(Settings(model=ModelSettings(remote=remotes, **model))))
        return loaded[-1]

    yield pipeline
    for one in loaded:
        for seat in {one.filling, one.choosing, one.routing}:
            if isinstance(seat.engine, RemoteEngine):
                seat.engine.close()


def engines(pipeline: Pipeline) -> tuple[type, type, type]:
    return tuple(type(seat.engine) for seat in (pipeline.routing, pipeline.choosing, pipeline.filling))  # type: ignore[return-value]


def test_a_server_in_all_stages_needs_no_model_here(url: str, folder: Path, vllm: VllmLike, load: Any) -> None:
    pipeline = load(RemoteSettings(url, "tiny", folder))
    assert engines(pipeline) == (RemoteEngine,) * 3
    assert pipeline.filling is pipeline.choosing is pipeline.routing and pipeline.reader is None
    assert pipeline.filling.engine.digest == model_digest(folder)
    assert len(pipeline.decide(Request("stop job 7"), CATALOG, Event()).stages) >= 1


def test_a_server_may_sit_in_single_stages(url: str, folder: Path, load: Any) -> None:
    writing = load(RemoteSettings(url, "tiny", folder, stages=("arguments",)))
    assert engines(writing) == (EncoderEngine, EncoderEngine, RemoteEngine)
    assert writing.reader is None
    routing = load(RemoteSettings(url, "tiny", folder, stages=("route",)))
    assert engines(routing) == (RemoteEngine, EncoderEngine, HFEngine)
    assert routing.reader is not None
    made = routing.decide(Request("stop job 7"), CATALOG, Event())
    assert made.stages[0].stage == "route"


def test_adapters_for_the_servers_model_speak_there(
    url: str, folder: Path, vllm: VllmLike, load: Any, tmp_path: Path
) -> None:
    tiny_adapter(folder, tmp_path / "own" / "mine", name="select")
    tiny_manifest(tmp_path / "own" / "mine", model_digest(folder), "select")
    remote = RemoteSettings(url, "tiny", folder)
    pipeline = load(remote, user_adapters=tmp_path / "own")
    made = pipeline.decide(Request("stop job 7", servers=("jobs",)), CATALOG, Event())
    assert made.stages[1].adapter == "select"
    assert [name.rpartition("-")[0] for name in vllm.adapters] == ["select"]
    (seat,) = seated_adapters(ModelSettings(remote=(remote,), user_adapters=tmp_path / "own"))
    assert [one.ref.name for one in seat.store.adapters] == ["select"]
    named = RemoteSettings(url, "tiny", folder, base="f" * 64, stages=("arguments",))
    bases = [seat.store.base_digest for seat in seated_adapters(ModelSettings(remote=(named,)))]
    assert bases == ["f" * 64, ENCODER_DIGEST]


def test_a_server_without_a_tokenizer_is_an_error(url: str) -> None:
    with pytest.raises(ModelLoadError, match="which tokenizer") as caught:
        load_pipeline(Settings(model=ModelSettings(remote=(RemoteSettings(url, "tiny"),))))
    assert "dualtune.model.remote.tokenizer" in caught.value.hint


def test_leaving_the_machine_is_said_once_and_staying_is_not(
    url: str, folder: Path, load: Any, caplog: pytest.LogCaptureFixture
) -> None:
    load(RemoteSettings(url, "tiny", folder))
    assert caplog.text == ""
    # Not a loopback address by its number, and yet nothing leaves: nobody listens.
    load(RemoteSettings("http://0.0.0.0:1/v1", "tiny", folder, retries=0))
    assert [record.message for record in caplog.records if "are sent to http://0.0.0.0:1/v1" in record.message] != []
    assert caplog.text.count("are sent to") == 1


def test_the_command_line_decides_with_a_model_server(
    url: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    remote = {"url": url, "model": "tiny", "tokenizer": str(folder)}
    config.write_text(json.dumps({"dualtune": {"model": {"remote": remote}}}))
    catalog = tmp_path / "catalog.json"
    tools = [{"name": "stop", "inputSchema": {"type": "object", "properties": {}}}]
    catalog.write_text(json.dumps({"servers": [{"name": "jobs", "description": "Runs jobs", "tools": tools}]}))
    code = main(["plan", "stop the job", "--config", str(config), "--catalog", str(catalog), "--json"])
    made = json.loads(capsys.readouterr().out)
    assert code in (exits.DONE, exits.NONE_FITS)
    assert made["outcome"] in ("call", "none") and made["stages"][0]["adapter"] == "base"
    remote["url"] = "http://127.0.0.1:1/v1"
    config.write_text(json.dumps({"dualtune": {"model": {"remote": {**remote, "retries": 0}}}}))
    assert main(["plan", "stop it", "--config", str(config), "--catalog", str(catalog), "--json"]) == exits.FAILED
    assert "cannot be reached" in json.loads(capsys.readouterr().out)["error"]["message"]
