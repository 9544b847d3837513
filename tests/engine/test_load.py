"""Model folders that can and cannot be loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcp_dualtune.engine.base import GenerationRequest, RankRequest
from mcp_dualtune.engine.generate import HFEngine
from mcp_dualtune.engine.int8 import Int8Linear
from mcp_dualtune.engine.load import load_model, model_digest
from mcp_dualtune.engine.lora import AdapterStack
from mcp_dualtune.errors import ModelLoadError
from mcp_dualtune.types import AdapterRef


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def test_a_loaded_model_knows_itself(llama_folder: Path) -> None:
    loaded = load_model(llama_folder)
    assert loaded.model.dtype == torch.bfloat16
    assert not loaded.model.training
    assert loaded.context_length == 2048
    assert loaded.digest == model_digest(llama_folder)
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("notes/a.md")) == "notes/a.md"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_the_digest_follows_every_part_of_the_model(folder: Path, name: str) -> None:
    before = model_digest(folder)
    (folder / "README.md").write_text("not part of the model")
    assert model_digest(folder) == before
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert model_digest(folder) != before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_or_broken_file_is_a_clear_error(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{")
    with pytest.raises(ModelLoadError) as caught:
        load_model(folder)
    assert caught.value.hint
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match="has no"):
        load_model(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="safetensors"):
        load_model(folder)


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        load_model(tmp_path / "nowhere")


def test_code_in_a_model_folder_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    with pytest.raises(ModelLoadError, match="own code"):
        load_model(folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_a_clear_error(llama_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="CUDA"):
        load_model(llama_folder, device="cuda")
    assert load_model(llama_folder, device="auto").model.device.type == "cpu"


def test_int8_stays_close_to_float32_with_and_without_an_adapter(
    llama_folder: Path, adapters: tuple[AdapterRef, ...]
) -> None:
    models = [load_model(llama_folder, precision).model for precision in ("float32", "int8")]
    stacks = [AdapterStack(model) for model in models]
    tokens = torch.arange(30, 90)[None]
    for adapter in (None, adapters[0]):
        for stack in stacks:
            stack.use(adapter)
        with torch.inference_mode():
            exact, rounded = (model(input_ids=tokens).logits for model in models)
        assert torch.nn.functional.cosine_similarity(exact, rounded, dim=-1).mean() > 0.99
        assert not torch.equal(exact, rounded)


@pytest.mark.parametrize("bias", [True, False])
def test_a_token_in_8_bits_is_as_exact_beside_a_hundred_times_larger_one(bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32, bias=bias)
    small, large = torch.randn(2, 5, 64).unbind()
    with torch.inference_mode():
        exact, rounded = linear(small), Int8Linear(linear)
        alone, beside = rounded(small), rounded(torch.cat([small, 100 * large, torch.zeros(1, 64)]))
        assert (alone - exact).abs().max() < 0.05
        assert (beside[:5] - exact).abs().max() < 0.05
        assert torch.equal(beside[-1], linear(torch.zeros(64)))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_every_precision_ranks_and_generates(
    llama_folder: Path, adapters: tuple[AdapterRef, ...], precision: str
) -> None:
    engine = HFEngine(load_model(llama_folder, precision, threads=1))
    assert engine.packs_options
    prompt = tuple(range(30, 90))
    assert len(engine.rank(RankRequest(prompt, ((5, 6), (7, 6)), adapters[0])).log_probabilities) == 2
    assert engine.generate(GenerationRequest(prompt, "start: /[a-z]{9}/", adapters[0])).complete


def test_importing_the_engine_loads_no_model_framework() -> None:
    code = "import sys, mcp_dualtune.engine.load, mcp_dualtune.engine.worker, mcp_dualtune.engine.scripted\n"
    check = "print({'torch', 'transformers', 'peft', 'llguidance', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
