"""Tiny random models and adapters as GGUF files, which the llama.cpp server reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMAL, CONTROL, UNUSED = 1, 3, 5


def gguf_name(name: str) -> str:
    """`model.layers.0.self_attn.q_proj.bias` -> `blk.0.attn_q.bias`."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    number, _, rest = name.removeprefix("model.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    return f"blk.{number}.{LAYER[module]}.{kind}"


def write_model(folder: Path, tokenizer: Any, file: Path) -> Path:
    """A tiny Qwen2 with its byte-level tokenizer, in float32."""
    from gguf import GGUFWriter  # noqa: PLC0415

    config = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(file, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    writer.add_rope_freq_base(theta)
    known = {place: word for word, place in tokenizer.get_vocab().items()}
    words = [known.get(place, f"[PAD{place}]") for place in range(config["vocab_size"])]
    special = set(tokenizer.all_special_tokens)
    kinds = [UNUSED if p not in known else CONTROL if words[p] in special else NORMAL for p in range(len(words))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    for name, tensor in load_file(folder / "model.safetensors").items():
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(tensor, dtype=np.float32))
    return _close(writer, file)


def write_adapter(folder: Path, file: Path) -> Path:
    """A LoRA adapter that PEFT has saved, in float32."""
    from gguf import GGUFWriter  # noqa: PLC0415

    config = json.loads((folder / "adapter_config.json").read_text())
    writer = GGUFWriter(file, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        layer, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        wanted = f"{gguf_name(f'{layer}.weight')}.lora_{side.lower()}"
        writer.add_tensor(wanted, np.ascontiguousarray(tensor, dtype=np.float32))
    return _close(writer, file)


def _close(writer: Any, file: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
