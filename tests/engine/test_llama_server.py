"""A real llama.cpp server with a tiny random model: `llama-server` on the PATH, or named by LLAMA_SERVER."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
import torch

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.catalog.schema import validate_arguments
from mcp_dualtune.engine.base import GenerationRequest, RankRequest
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.llama_server import LlamaServer
from mcp_dualtune.engine.load import load_model
from mcp_dualtune.engine.remote import RemoteEngine
from mcp_dualtune.engine.wire import Wire
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import AdapterRef, Request
from tests.pipeline.test_real_engine import CATALOG, TEXTS
from tests.tiny_models import tiny_adapter

PROGRAM = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
START_LIMIT = 90.0
NAMES = ('git_log"', 'git_status"', 'write_file"', 'none"')
LONG = "read the file notes/a.md, list all branches of the repository at /tmp/repo and say what time it is in Tokyo: "

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no llama-server here")


@pytest.fixture(scope="module")
def here(qwen2_folder: Path) -> HFEngine:
    return HFEngine(load_model(qwen2_folder, "float32", threads=1))


@pytest.fixture(scope="module")
def refs(qwen2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[AdapterRef]:
    folder = tmp_path_factory.mktemp("loras")
    return [tiny_adapter(qwen2_folder, folder / str(seed), seed=seed, name="select") for seed in (1, 2)]


@pytest.fixture(scope="module")
def url(
    here: HFEngine, qwen2_folder: Path, refs: list[AdapterRef], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    pytest.importorskip("gguf")
    from tests.gguf_files import write_adapter, write_model  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("gguf")
    model = write_model(qwen2_folder, here.tokenizer, folder / "tiny.gguf")
    loras = [write_adapter(ref.path, folder / f"{ref.served_name}.gguf") for ref in refs]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(PROGRAM), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "-c", "2048", "-np", "1"]
    words += ["--lora", ",".join(map(str, loras)), "--no-warmup", "-t", "1", "--offline"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            ends = time.monotonic() + START_LIMIT
            while not _healthy(port):
                assert process.poll() is None and time.monotonic() < ends, (folder / "log").read_text()[-3000:]
                time.sleep(0.1)  # a process has no other way to say that it listens
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _healthy(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture
def there(here: HFEngine, url: str) -> Iterator[RemoteEngine]:
    engine = RemoteEngine(Wire(url), "auto", "", here.tokenizer, here.digest)
    yield engine
    engine.close()


def chosen(url: str, here: HFEngine, adapter: AdapterRef | None) -> list[tuple[str, float]]:
    """The tokens that the server chooses for NAMES, and what its model thinks of them."""
    wire = Wire(url)
    server = LlamaServer(wire)
    server.probe(here.tokenizer, None)
    speaker = server.speaker(adapter, None)
    written, _ = server.choose(tuple(here.tokenizer.encode(LONG)), NAMES, speaker, None)
    wire.close()
    return [(one.text.decode(), one.log_probability) for one in written]


def expected(here: HFEngine, adapter: AdapterRef | None, tokens: list[str]) -> list[float]:
    """What the same weights think of these tokens here."""
    here.adapters.use(adapter)
    prompt = here.tokenizer.encode(LONG)
    ids = [here.tokenizer.encode(token)[0] for token in tokens]
    with torch.inference_mode():
        logits = here.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].float()
    scores = torch.log_softmax(logits, -1)
    return [float(scores[len(prompt) + at - 1, token]) for at, token in enumerate(ids)]


def test_its_probabilities_are_those_of_the_same_weights_here_under_every_adapter(
    url: str, here: HFEngine, refs: list[AdapterRef]
) -> None:
    """Going to and fro: what it has computed under one adapter must not be used under another."""
    seen: dict[str, Any] = {}
    for ref in (None, refs[0], refs[1], refs[0], None, refs[1]):
        answer = [(text, value) for text, value in chosen(url, here, ref) if text]
        assert "".join(text for text, _ in answer) in NAMES
        tokens = [text for text, _ in answer]
        assert [value for _, value in answer] == pytest.approx(expected(here, ref, tokens), abs=0.02)
        seen["base" if ref is None else ref.served_name] = answer
    assert len({repr(answer) for answer in seen.values()}) == 3


def test_ranking_and_generating_keep_to_what_is_offered(there: RemoteEngine, here: HFEngine) -> None:
    end = here.tokenizer.eos_token_id
    options = tuple((*here.tokenizer.encode(name), end) for name in NAMES)
    ranking = there.rank(RankRequest(tuple(here.tokenizer.encode(LONG)), options))
    assert sum(torch.tensor(ranking.log_probabilities).exp().tolist()) == pytest.approx(1.0)
    schema = {"type": "object", "properties": {"mode": {"enum": ["fast", "slow"]}}, "required": ["mode"]}
    closed = {**schema, "additionalProperties": False}
    said = there.generate(GenerationRequest(tuple(here.tokenizer.encode(LONG)), None, json_schema=closed))
    assert said.complete and json.loads(said.text)["mode"] in ("fast", "slow")
    assert all(0.0 <= chance <= 1.0 for chance in said.probabilities)
    assert there.context_length == 2048


def test_every_decision_stays_inside_catalog_and_schema(there: RemoteEngine) -> None:
    pipeline = Pipeline.for_engine(there, AdapterStore((), there.digest))
    outcomes = set()
    for text in TEXTS:
        made = pipeline.decide(Request(text), CATALOG, Event())
        outcomes.add(made.outcome)
        if made.outcome == "call":
            assert made.server is not None and made.tool is not None
            assert validate_arguments(CATALOG.tool(made.server, made.tool).input_schema, made.arguments) == ()
    assert outcomes <= {"call", "ask", "none"}


def test_an_adapter_it_was_not_started_with_is_an_error(there: RemoteEngine, here: HFEngine, tmp_path: Path) -> None:
    prompt = tuple(here.tokenizer.encode(LONG))
    unknown = AdapterRef("route", tmp_path, "e" * 64)
    with pytest.raises(AdapterError, match="was not started with the adapter route") as caught:
        there.rank(RankRequest(prompt, (prompt[:2],), unknown))
    assert f"{unknown.served_name}.gguf" in caught.value.hint
