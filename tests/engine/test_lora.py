"""Switching adapters, against PEFT's own layers."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from mcp_dualtune.engine.load import load_model
from mcp_dualtune.engine.lora import BASE, AdaptedLinear, AdapterStack
from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import AdapterRef
from tests.tiny_models import adapter_ref, tiny_adapter, tiny_llama, tiny_qwen2

TOKENS = torch.arange(30, 60)[None]


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=TOKENS).logits


def plain(folder: Path) -> Any:
    return load_model(folder, "float32").model


def with_peft(folder: Path, refs: tuple[AdapterRef, ...]) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        model = PeftModel.from_pretrained(plain(folder), refs[0].path, adapter_name=refs[0].name.replace("/", "_"))
    for ref in refs[1:]:
        model.load_adapter(ref.path, ref.name.replace("/", "_"))
    return model.eval()


def test_every_switch_gives_the_logits_of_peft(llama_folder: Path, adapters: tuple[AdapterRef, ...]) -> None:
    model, reference = plain(llama_folder), with_peft(llama_folder, adapters)
    base = logits(model)
    stack = AdapterStack(model)
    for ref in (adapters[0], adapters[1], None, adapters[2], adapters[0], None):
        stack.use(ref)
        if ref is None:
            assert torch.equal(logits(model), base)
            with reference.disable_adapter():
                assert torch.equal(logits(model), logits(reference))
        else:
            reference.set_adapter(ref.name.replace("/", "_"))
            torch.testing.assert_close(logits(model), logits(reference), atol=1e-4, rtol=1e-4)
            assert (logits(model) - base).abs().max() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 1}},
    ],
)
def test_peft_options_are_read_as_peft_reads_them(tmp_path: Path, options: dict[str, Any]) -> None:
    """On Qwen2, whose attention has biases."""
    folder = tiny_qwen2(tmp_path / "model")
    ref = tiny_adapter(folder, tmp_path / "adapter", **options)
    model = plain(folder)
    AdapterStack(model).use(ref)
    torch.testing.assert_close(logits(model), logits(with_peft(folder, (ref,))), atol=1e-4, rtol=1e-4)


def test_an_adapter_of_few_layers_leaves_nothing_of_the_one_before(llama_folder: Path, tmp_path: Path) -> None:
    wide = tiny_adapter(llama_folder, tmp_path / "wide", seed=1)
    narrow = tiny_adapter(llama_folder, tmp_path / "narrow", seed=2, target_modules=["v_proj"])
    model = plain(llama_folder)
    AdapterStack(model).use(narrow)
    expected = logits(model)
    other = plain(llama_folder)
    stack = AdapterStack(other)
    stack.use(wide)
    stack.use(narrow)
    assert torch.equal(logits(other), expected)


def test_switching_touches_each_layer_once_however_many_are_loaded(
    llama_folder: Path, adapters: tuple[AdapterRef, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = AdapterStack(plain(llama_folder))
    writes: list[str] = []
    write = AdaptedLinear.__setattr__

    def counted(self: AdaptedLinear, name: str, value: Any) -> None:
        writes.append(name)
        write(self, name, value)

    def cost() -> int:
        stack.use(adapters[0])
        writes.clear()
        stack.use(adapters[1])
        return writes.count("pairs")

    monkeypatch.setattr(AdaptedLinear, "__setattr__", counted)
    few = cost()
    weights = load_file(adapters[0].path / "adapter_model.safetensors")
    for index in range(38):
        folder = tmp_path / str(index)
        folder.mkdir()
        save_file({key: value + index for key, value in weights.items()}, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_bytes((adapters[0].path / "adapter_config.json").read_bytes())
        stack.use(adapter_ref(folder, f"arguments/server/tool{index}"))
    assert len(stack.loaded) == 40
    assert cost() == few > 0


def test_the_least_recently_used_adapter_is_evicted_unless_pinned(
    llama_folder: Path, adapters: tuple[AdapterRef, ...]
) -> None:
    model = plain(llama_folder)
    stack = AdapterStack(model)
    stack.use(adapters[0])
    one = stack.size
    stack = AdapterStack(plain(llama_folder), megabytes=2.5 * one / 2**20)
    stack.pin(adapters[0])
    stack.use(adapters[1])
    stack.use(adapters[2])
    assert stack.loaded == (adapters[0], adapters[2])
    stack.unpin(adapters[0])
    stack.use(adapters[1])
    assert stack.loaded == (adapters[2], adapters[1])
    assert stack.size <= 2.5 * one
    stack.use(adapters[0])
    assert stack.loaded == (adapters[1], adapters[0])


def test_identity_follows_weights_and_scaling(llama_folder: Path, tmp_path: Path) -> None:
    ref = tiny_adapter(llama_folder, tmp_path / "route", seed=1)
    first = AdapterStack(plain(llama_folder)).use(ref)
    config = json.loads((ref.path / "adapter_config.json").read_text())
    (ref.path / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 1}))
    rescaled = AdapterStack(plain(llama_folder)).use(ref)
    retrained = AdapterStack(plain(llama_folder)).use(tiny_adapter(llama_folder, tmp_path / "route", seed=2))
    assert len({first, rescaled, retrained, BASE}) == 4


def test_weights_that_changed_since_the_scan_are_refused(llama_folder: Path, tmp_path: Path) -> None:
    old = tiny_adapter(llama_folder, tmp_path / "route", seed=1)
    tiny_adapter(llama_folder, tmp_path / "route", seed=2)
    with pytest.raises(AdapterError, match="have changed"):
        AdapterStack(plain(llama_folder)).use(old)


def test_an_adapter_of_another_architecture_or_size_is_refused(
    llama_folder: Path, adapters: tuple[AdapterRef, ...], tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415

    other = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=400))
    with pytest.raises(AdapterError, match="no layer"):
        AdapterStack(other).use(adapters[0])
    grown = tiny_llama(tmp_path / "model")
    config = json.loads((grown / "config.json").read_text())
    assert config["hidden_size"] == 64
    ref = tiny_adapter(llama_folder, tmp_path / "adapter", rank=4)
    settings = json.loads((ref.path / "adapter_config.json").read_text())
    (ref.path / "adapter_config.json").write_text(json.dumps({**settings, "r": 8}))
    with pytest.raises(AdapterError, match="shapes"):
        AdapterStack(plain(llama_folder)).use(ref)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": None}, "`r`"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    llama_folder: Path, adapters: tuple[AdapterRef, ...], tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    source = adapters[0].path
    config = json.loads((source / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
    (tmp_path / "adapter_model.safetensors").write_bytes((source / "adapter_model.safetensors").read_bytes())
    model = plain(llama_folder)
    with pytest.raises(AdapterError, match=reason):
        AdapterStack(model).use(adapter_ref(tmp_path))


@pytest.mark.parametrize("broken", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\x00" * 40])
def test_broken_files_are_an_adapter_error(
    llama_folder: Path, adapters: tuple[AdapterRef, ...], tmp_path: Path, broken: str, content: bytes | None
) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapters[0].path / name).read_bytes())
    ref = adapter_ref(tmp_path)
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_bytes(content)
    with pytest.raises(AdapterError) as caught:
        AdapterStack(plain(llama_folder)).use(ref)
    assert caught.value.hint


def test_an_adapter_on_top_of_another_adds_to_it(llama_folder: Path, tmp_path: Path) -> None:
    """The sum of both, as PEFT has it with both adapters active; taking it off leaves the lower one as it was."""
    below = tiny_adapter(llama_folder, tmp_path / "below", seed=1, name="below")
    top = tiny_adapter(llama_folder, tmp_path / "top", seed=2, rank=2, name="top", target_modules=["v_proj"])
    both = replace(top, below=below)
    model, reference = plain(llama_folder), with_peft(llama_folder, (below, top))
    stack = AdapterStack(model)
    assert stack.use(both) not in (stack.use(below), stack.use(top), BASE)
    for ref, active in ((both, ["below", "top"]), (below, ["below"]), (both, ["below", "top"]), (top, ["top"])):
        stack.use(ref)
        reference.base_model.set_adapter(active)
        torch.testing.assert_close(logits(model), logits(reference), atol=1e-4, rtol=1e-4)


def test_adapters_on_top_of_one_share_its_memory(llama_folder: Path, tmp_path: Path) -> None:
    below = tiny_adapter(llama_folder, tmp_path / "below", rank=16)
    tops = [
        replace(tiny_adapter(llama_folder, tmp_path / f"top{n}", seed=n, rank=1, name=f"top{n}"), below=below)
        for n in range(3)
    ]
    stack = AdapterStack(plain(llama_folder))
    for top in tops:
        stack.use(top)
    assert set(stack.loaded) == {below, *tops}
    large, small = (torch.finfo(torch.float32).bits // 8 * n for n in (16, 1))
    assert stack.size / (large + 3 * small) == pytest.approx(stack_width(stack), rel=0.01)


def stack_width(stack: AdapterStack) -> float:
    """Values of a rank-1 adapter on all layers."""
    return sum(layer.in_features + layer.out_features for layer in stack._layers.values())
