"""Pointing: the head speaks only under an adapter that brings its weights, and pages are read one like the other."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest
import torch

from mcp_dualtune.engine.base import PointRequest, RankRequest
from mcp_dualtune.engine.encoder import EncoderEngine
from mcp_dualtune.engine.load import load_encoder
from mcp_dualtune.engine.reading import FAR, attach_head, point
from mcp_dualtune.errors import Cancelled, PromptTooLong
from mcp_dualtune.prompting.reading import Page, ReadingTemplate
from mcp_dualtune.prompting.slots import slots_of
from mcp_dualtune.types import AdapterRef, Request, ToolSpec
from tests.tiny_models import adapter_ref, tiny_adapter, tiny_encoder, tiny_pieces

SCHEMA = {"properties": {"path": {"type": "string"}, "mode": {"enum": ["fast", "slow"]}}}
TOOL = ToolSpec("s", "move_file", "Moves it.", SCHEMA, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterRef:
    """An adapter with weights for the head, as training writes them."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    made = tiny_adapter(folder, tmp_path_factory.mktemp("adapter"))
    weights = load_file(made.path / "adapter_model.safetensors")
    torch.manual_seed(3)
    for layer, size in (("slot", 132), ("token", 192)):
        for side, shape in (("A", (4, 32)), ("B", (size, 4))):
            weights[f"base_model.model.reading.{layer}.lora_{side}.weight"] = torch.randn(shape)
    save_file(weights, made.path / "adapter_model.safetensors")
    return adapter_ref(made.path, "reading")


@pytest.fixture
def engine(folder: Path) -> EncoderEngine:
    return EncoderEngine(load_encoder(folder, "float32", threads=1))


def page_of(text: str) -> Page:
    slots = [slot for name in SCHEMA["properties"] for slot in slots_of(SCHEMA, name)]
    return ReadingTemplate(tiny_pieces()).pages(Request(text), TOOL, slots, {})[0]


def test_without_weights_for_the_head_every_place_is_as_likely(folder: Path) -> None:
    model = load_encoder(folder, "float32", threads=1).model
    attach_head(model)
    page = page_of("take a.md away")
    (scores,) = point(model, [page])
    assert scores.states.abs().max() == 0.0
    for slot in range(len(page.slots)):
        allowed = torch.tensor(page.begins(slot))
        assert (scores.starts[slot][allowed] == 0.0).all()
        assert (scores.starts[slot][~allowed] == FAR).all()


def test_probabilities_are_those_of_the_scores(engine: EncoderEngine, adapter: AdapterRef) -> None:
    page = page_of("take a.md away")
    (found,) = engine.point(PointRequest([page], adapter))
    for slot in range(len(page.slots)):
        assert sum(found.states[slot]) == pytest.approx(1.0, abs=1e-5)
        assert torch.tensor(found.starts[slot]).exp().sum() == pytest.approx(1.0, abs=1e-4)
        may = [token for token, score in enumerate(found.starts[slot]) if score > FAR / 2]
        assert all(page.begins(slot)[token] for token in may)
        for first, ends in found.ends[slot].items():
            assert len(ends) == len(page.tokens)
            assert torch.tensor(ends).exp().sum() == pytest.approx(1.0, abs=1e-4)
            may = [token for token, score in enumerate(ends) if score > FAR / 2]
            assert all(token >= first and page.finishes(slot)[token] for token in may)
    assert found.states[0] != found.states[1]


def test_a_page_is_read_the_same_alone_and_beside_a_longer_one(engine: EncoderEngine, adapter: AdapterRef) -> None:
    pages = [page_of("take a.md"), page_of("take the file a.md away from here, it is in the way")]
    engine.adapters.use(adapter)
    with torch.inference_mode():
        together, alone = point(engine._model, pages), [point(engine._model, [page])[0] for page in pages]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one.starts, other.starts, atol=1e-4)
        first = torch.tensor([3])
        assert torch.allclose(one.ends(0, first), other.ends(0, first), atol=1e-4)
        assert torch.allclose(one.states, other.states, atol=1e-4)


def test_a_cancelled_reading_stops_and_a_page_that_is_too_long_is_refused(
    engine: EncoderEngine, adapter: AdapterRef
) -> None:
    stop = Event()
    stop.set()
    page = page_of("take a.md")
    with pytest.raises(Cancelled):
        engine.point(PointRequest([page], adapter), stop)
    long = Page(page.tokens * 40, page.slots, page.marks, page.places * 40, page.sources)
    with pytest.raises(PromptTooLong, match="this encoder reads 512"):
        engine.point(PointRequest([long], adapter))


def test_texts_are_compared_as_the_model_came_and_as_closely_as_options_are_ranked(
    engine: EncoderEngine, adapter: AdapterRef
) -> None:
    template = ReadingTemplate(tiny_pieces())
    text, *passages = (template.passage(words) for words in ("take a.md", "a.md", "the file", "away from here"))
    engine.adapters.use(adapter)
    compared = engine.compare(text, passages)
    ranking = engine.rank(RankRequest(text, tuple(passages)))
    closeness = torch.tensor([one.closeness for one in compared]).log_softmax(-1)
    assert torch.allclose(closeness, torch.tensor(ranking.log_probabilities), atol=2e-2)  # kept in half precision
    assert all(len(one.tokens) == len(text) - 2 for one in compared)
    assert all(-1.01 <= cosine <= 1.01 for one in compared for cosine in one.tokens)
