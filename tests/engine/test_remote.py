"""A remote model says what the same model says here; servers that cannot be trusted are refused."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.engine.base import GenerationRequest, RankRequest
from mcp_dualtune.engine.remote import RemoteEngine
from mcp_dualtune.engine.wire import Wire, is_loopback
from mcp_dualtune.errors import AdapterError, Cancelled, EngineError, PromptTooLong
from mcp_dualtune.pipeline.decide import Pipeline
from mcp_dualtune.types import AdapterRef, Request
from tests.model_servers import Answer, VllmLike, listening
from tests.pipeline.test_real_engine import CATALOG, TEXTS
from tests.tiny_models import tiny_adapter

SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"], "additionalProperties": False}


@pytest.fixture(scope="module")
def vllm(qwen2_folder: Path) -> VllmLike:
    return VllmLike(qwen2_folder)


@pytest.fixture(scope="module")
def address(vllm: VllmLike) -> Iterator[str]:
    with listening(vllm) as url:
        yield url


@pytest.fixture(autouse=True)
def as_new(vllm: VllmLike) -> None:
    vllm.adapters.clear()
    vllm.seen.clear()
    vllm.spelling, vllm.scores, vllm.may_load = "structured_outputs", True, True


@pytest.fixture
def connect(vllm: VllmLike) -> Iterator[Callable[..., RemoteEngine]]:
    made = []

    def engine(url: str, model: str = "tiny", kind: Any = "auto", **wire: Any) -> RemoteEngine:
        made.append(RemoteEngine(Wire(url, **wire), kind, model, vllm.engine.tokenizer, vllm.engine.digest))
        return made[-1]

    yield engine
    for one in made:
        one.close()


def words(vllm: VllmLike, text: str) -> tuple[int, ...]:
    return tuple(vllm.engine.tokenizer.encode(text))


def ranking(vllm: VllmLike, adapter: AdapterRef | None = None) -> RankRequest:
    end = vllm.engine.tokenizer.eos_token_id
    options = tuple((*words(vllm, f'{name}"'), end) for name in ("git_log", "git_status", "write_file", "none"))
    return RankRequest(words(vllm, 'read the file notes/a.md: "'), options, adapter)


def test_every_decision_is_the_one_of_the_same_model_here(vllm: VllmLike, address: str, connect: Any) -> None:
    here = Pipeline.for_engine(vllm.engine, AdapterStore((), vllm.engine.digest))
    there = Pipeline.for_engine(connect(address), AdapterStore((), vllm.engine.digest))
    outcomes = set()
    for text in TEXTS:
        for named in (None, ("jobs",), ("lights",)):
            request = Request(text, servers=named)
            with vllm.lock:
                expected = here.decide(request, CATALOG, Event())
            found = there.decide(request, CATALOG, Event())
            outcomes.add(found.outcome)
            assert (found.outcome, found.server, found.tool) == (expected.outcome, expected.server, expected.tool)
            assert (found.arguments, found.missing) == (expected.arguments, expected.missing)
            chosen, wanted = ([r.probability for r in d.stages if r.stage != "arguments"] for d in (found, expected))
            assert chosen == pytest.approx(wanted, abs=1e-3)
    assert "call" in outcomes


def test_a_server_without_scores_chooses_with_the_same_first_option(vllm: VllmLike, address: str, connect: Any) -> None:
    vllm.scores = False
    request = ranking(vllm)
    found = connect(address).rank(request)
    assert sum(map(math.exp, found.log_probabilities)) == pytest.approx(1.0)
    asked = [body for path, body in vllm.seen if path == "/v1/completions"][-1]
    assert asked["structured_outputs"]["choice"] == ['git_log"', 'git_status"', 'write_file"', 'none"']


def test_the_older_spelling_of_constraints_is_found_out(vllm: VllmLike, address: str, connect: Any) -> None:
    vllm.spelling = "guided"
    said = connect(address).generate(GenerationRequest(words(vllm, "how many?"), None, json_schema=SCHEMA))
    assert json.loads(said.text)["n"] in (1, 2, 3)
    assert said.complete and all(0.0 <= chance <= 1.0 for chance in said.probabilities)


def test_a_server_that_writes_what_it_likes_is_refused(vllm: VllmLike, address: str, connect: Any) -> None:
    vllm.spelling = "none"
    with pytest.raises(EngineError, match="does not keep to a JSON schema"):
        connect(address).check()


def test_adapters_are_loaded_under_a_name_that_changes_with_their_weights(
    vllm: VllmLike, address: str, connect: Any, qwen2_folder: Path, tmp_path: Path
) -> None:
    engine = connect(address)
    plain = engine.rank(ranking(vllm)).log_probabilities
    said = []
    for seed in (1, 2):
        ref = tiny_adapter(qwen2_folder, tmp_path / "select", seed=seed, name="select")
        said.append(engine.rank(ranking(vllm, ref)).log_probabilities)
        with vllm.lock:
            here = vllm.engine.rank(ranking(vllm, ref)).log_probabilities
        assert said[-1] == pytest.approx(here, abs=1e-3)
    assert len({plain, *said}) == 3
    assert len(vllm.adapters) == 2 and all(name.startswith("select-") for name in vllm.adapters)
    loads = [path for path, _ in vllm.seen].count("/v1/load_lora_adapter")
    engine.rank(ranking(vllm, ref))
    assert [path for path, _ in vllm.seen].count("/v1/load_lora_adapter") == loads == 2


def test_an_adapter_that_the_server_may_not_load_is_an_error(
    vllm: VllmLike, address: str, connect: Any, tmp_path: Path
) -> None:
    vllm.may_load = False
    with pytest.raises(AdapterError, match="does not have the adapter select") as caught:
        connect(address).rank(ranking(vllm, AdapterRef("select", tmp_path, "d" * 64)))
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in caught.value.hint


def test_what_does_not_fit_or_cannot_be_constrained_is_said_before_it_is_sent(
    vllm: VllmLike, address: str, connect: Any
) -> None:
    engine = connect(address)
    assert engine.context_length == 2048
    with pytest.raises(PromptTooLong):
        engine.generate(GenerationRequest((5,) * 2048, None, json_schema=SCHEMA))
    with pytest.raises(EngineError, match="cannot be constrained"):
        engine.generate(GenerationRequest((5,), "start: /x/"))


def test_a_model_or_vocabulary_that_is_not_the_servers_is_named(vllm: VllmLike, address: str, connect: Any) -> None:
    with pytest.raises(EngineError, match="does not serve 'other'") as caught:
        connect(address, "other").check()
    assert "tiny" in caught.value.hint
    from tests.tiny_models import tiny_tokenizer  # noqa: PLC0415

    wire = Wire(address)
    with pytest.raises(EngineError, match="another vocabulary"):
        RemoteEngine(wire, "auto", "tiny", tiny_tokenizer(words=300), "d").check()
    wire.close()


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (200, b"<html>hello</html>", "not JSON: <html>hello"),
        (200, {"data": [{"id": "x", "owned_by": "somebody"}]}, "neither vLLM nor llama.cpp"),
        (200, {"error": "?"}, "answered without data"),
        (200, [], "answered without data"),
        (401, {"error": "who are you?"}, "refuses us"),
        (404, b"no\x1b[31m such\n place", r"does not do /models \(status 404\): no \[31m such place"),
        (500, b"", r"failed \(status 500\): nothing"),
        (302, b"", "does not do /models"),
    ],
)
def test_nonsense_is_told_with_what_to_do(status: int, said: Any, reason: str, connect: Any) -> None:
    with listening(lambda *asked: (status, said)) as url, pytest.raises(EngineError, match=reason) as caught:
        connect(url).check()
    assert caught.value.hint and not caught.value.retryable


def test_a_busy_server_is_asked_again_and_a_key_is_shown(vllm: VllmLike, connect: Any) -> None:
    left = [503, 429]
    keys = set()

    def busy(method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        keys.add(headers.get("authorization"))
        return (left.pop(), b"later") if left else vllm(method, path, body, headers)

    pauses: list[float] = []
    with listening(busy) as url:
        connect(url, key="s3cret", pause=pauses.append).check()
    assert left == [] and keys == {"Bearer s3cret"}
    assert len(pauses) == 2 and pauses[0] < 0.5 < 2 * pauses[1] + 0.5
    with listening(lambda *asked: (503, b"later")) as url, pytest.raises(EngineError, match="later") as caught:
        connect(url, pause=pauses.append).context_length  # noqa: B018
    assert caught.value.retryable and len(pauses) == 4


def test_a_slow_server_is_given_up_and_not_asked_again(connect: Any) -> None:
    asked, over = [], threading.Event()

    def slow(*request: Any) -> Answer:
        asked.append(request)
        over.wait(20)
        return 200, {}

    with listening(slow) as url:
        with pytest.raises(EngineError, match=r"no whole answer within 0.2 seconds") as caught:
            connect(url, seconds=0.2).context_length  # noqa: B018
        over.set()
    assert caught.value.retryable and len(asked) == 1


def test_a_server_that_is_down_is_asked_again_by_the_next_request(
    vllm: VllmLike, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    up = False

    def answer(*asked: Any) -> Answer:
        return vllm(*asked) if up else (503, b"loading")

    with listening(answer) as url:
        engine = connect(url, retries=0)
        engine.check()
        assert "Requests will try again" in caplog.text
        up = True
        assert engine.context_length == 2048
    gone = connect(url, retries=1, pause=lambda seconds: None)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        gone.context_length  # noqa: B018
    assert caught.value.retryable


def test_a_cancelled_request_asks_nothing(vllm: VllmLike, address: str, connect: Any) -> None:
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled):
        connect(address).rank(ranking(vllm), cancel)
    assert vllm.seen == []


def test_a_request_is_cancelled_while_the_server_thinks(connect: Any) -> None:
    cancel, over = Event(), threading.Event()

    def thinking(*asked: Any) -> Answer:
        cancel.set()
        assert over.wait(20)
        return 200, {}

    with listening(thinking) as url:
        with pytest.raises(Cancelled):
            connect(url).rank(RankRequest((1,), ((2,),)), cancel)
        assert not over.is_set()
        over.set()


def test_an_endless_answer_is_cut_off(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_dualtune.engine.wire.ANSWER_LIMIT", 1000)
    with listening(lambda *asked: (200, b" " * 5000)) as url, pytest.raises(EngineError, match="more than a model"):
        connect(url).check()


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.1/v1", False),
        ("https://models.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
    ],
)
def test_what_stays_on_this_machine(url: str, near: bool) -> None:
    assert is_loopback(url) is near
