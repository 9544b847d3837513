"""What an adapter adds to the one it went on from, kept in smaller matrices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcp_dualtune.adapter_registry.manifest import CONFIG, WEIGHTS, load_manifest, save_manifest
from mcp_dualtune.adapter_registry.store import AdapterStore
from mcp_dualtune.training.lora import condense
from tests.tiny_models import tiny_manifest

BASE = "b" * 64
NAME = "base_model.model.layer.lora_{}.weight"


def write(folder: Path, down: torch.Tensor, up: torch.Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({NAME.format("A"): down.contiguous(), NAME.format("B"): up.contiguous()}, folder / WEIGHTS)
    rank = down.shape[0]
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}), "utf-8")
    tiny_manifest(folder, BASE, "select")
    save_manifest(replace(load_manifest(folder), rank=rank), folder)


def test_an_adapter_that_went_on_from_another_is_kept_as_what_it_adds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    down, up = torch.randn(6, 10), torch.randn(8, 6)
    write(tmp_path / "select", down, up)
    further, added = torch.randn(1, 10), torch.randn(8, 1)
    write(tmp_path / "select/files", down, up + added @ (further @ torch.linalg.pinv(down)))
    manifest = load_manifest(tmp_path / "select/files")
    save_manifest(replace(manifest, server="files", schema_fingerprint="f" * 64), tmp_path / "select/files")
    below = AdapterStore([tmp_path / "select"], BASE).best("select")
    assert below is not None
    before = load_file(tmp_path / "select/files" / WEIGHTS)
    change = before[NAME.format("B")] @ before[NAME.format("A")] - up @ down

    condense(tmp_path / "select/files", below, 1)

    kept = load_file(tmp_path / "select/files" / WEIGHTS)
    assert kept[NAME.format("A")].shape == (1, 10)
    torch.testing.assert_close(
        kept[NAME.format("B")].float() @ kept[NAME.format("A")].float(), change, atol=0.05, rtol=0.05
    )
    found = AdapterStore([tmp_path / "select"], BASE).best("select", "files", None, "f" * 64)
    assert found is not None and found.below is not None
    assert load_manifest(tmp_path / "select/files").stacked_on == below.content
    assert found.name == "select/files"


def test_nothing_is_condensed_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "select", torch.randn(2, 4), torch.randn(4, 2))
    below = AdapterStore([tmp_path / "select"], BASE).best("select")
    assert below is not None
    with pytest.raises(FileNotFoundError):
        condense(tmp_path / "elsewhere", below, 1)
