"""Real models with random weights that are made in a second: what tests of the engine run on."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

from mcp_dualtune.adapter_registry.manifest import Manifest, TrainingData, save_manifest
from mcp_dualtune.prompting.templates.compact import SPECIAL_TOKENS
from mcp_dualtune.types import AdapterRef, Stage

LINES = (
    'read the file notes/a.md, head 10 lines {"path": "notes/a.md", "head": 10}',
    'list all branches of the repository at /tmp/repo {"repo_path": "/tmp/repo", "all": true}',
    'what time is it in Tokyo when it is 14:30 in Berlin {"timezone": "Asia/Tokyo", "time": "14:30"}',
    "read_text_file write_file list_directory move_file git_status git_log convert_time get_current_time",
    "filesystem git time memory: reads and writes files, shows commits, tells the time, keeps notes",
)
CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_tokenizer(special: tuple[str, ...] = SPECIAL_TOKENS, end: str = "<|end|>", words: int = 400) -> Any:
    """A byte-level BPE tokenizer trained on a few lines, with special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=special[0])
    fast.add_special_tokens({"additional_special_tokens": list(special)})
    return fast


def tiny_llama(folder: Path, *, seed: int = 0, context_length: int = 2048) -> Path:
    """Save a random Llama in the shape of the embedded model, with its special tokens; returns the folder."""
    from transformers import LlamaConfig  # noqa: PLC0415

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(config, tokenizer, folder, seed)


def tiny_qwen2(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Save a random Qwen2 with a ChatML template and more rows of weights than words; returns the folder.

    `settings` go to its config.
    """
    from transformers import Qwen2Config  # noqa: PLC0415

    tokenizer = tiny_tokenizer(CHAT_TOKENS, end="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 24,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    return _save(config, tokenizer, folder, seed)


def tiny_pieces() -> Any:
    """A word-piece tokenizer of the BERT family whose pieces are single characters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers  # noqa: PLC0415
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    characters = sorted({character for line in LINES for character in line.lower()} | set("xqj[]()"))
    pieces = [*special, *characters, *("##" + character for character in characters)]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip


def tiny_encoder(folder: Path, *, seed: int = 0, context_length: int = 512) -> Path:
    """Save a random BERT in the shape of the public encoder; returns the folder."""
    from transformers import BertConfig  # noqa: PLC0415

    tokenizer = tiny_pieces()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=context_length,
    )  # fmt: skip
    return _save(config, tokenizer, folder, seed, "AutoModel")


def tiny_adapter(
    model_folder: Path,
    folder: Path,
    *,
    seed: int = 1,
    rank: int = 4,
    strength: float = 0.3,
    name: str = "route",
    **lora: Any,
) -> AdapterRef:
    """Save a LoRA adapter with random weights on both sides, as PEFT writes it; returns its reference.

    `lora` goes to PEFT's LoraConfig. `strength` is the spread of B, which training would start at zero.
    """
    import torch  # noqa: PLC0415
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM  # noqa: PLC0415

    torch.manual_seed(seed)
    encoder = AutoConfig.from_pretrained(model_folder).model_type == "bert"
    kind, task = (AutoModel, "FEATURE_EXTRACTION") if encoder else (AutoModelForCausalLM, "CAUSAL_LM")
    model = kind.from_pretrained(model_folder, dtype=torch.float32)
    settings = {"target_modules": "all-linear", "task_type": task, "lora_alpha": 2 * rank, **lora}
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is on its way out.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        adapted = get_peft_model(model, LoraConfig(r=rank, **settings))
    with torch.no_grad():
        for key, weight in adapted.named_parameters():
            if "lora_B" in key:
                weight.normal_(0, strength)
    adapted.save_pretrained(folder)
    return adapter_ref(folder, name)


def adapter_ref(folder: Path, name: str = "route", temperature: float = 1.0) -> AdapterRef:
    """Reference to the adapter in `folder` as it is now."""
    weights = (folder / "adapter_model.safetensors").read_bytes()
    return AdapterRef(name, folder, hashlib.sha256(weights).hexdigest(), temperature)


def small_adapter(
    folder: Path,
    base_digest: str,
    stage: Stage,
    server: str | None = None,
    fingerprint: str | None = None,
    *,
    seed: int = 0,
) -> Path:
    """Write an adapter that is whole but fits no model: for tests that look at files only."""
    import numpy  # noqa: PLC0415
    from safetensors.numpy import save_file  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    weights = numpy.random.default_rng(seed).normal(size=(4, 8)).astype("float32")
    save_file({"base_model.model.x.lora_A.weight": weights}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    tiny_manifest(folder, base_digest, stage, server, fingerprint=fingerprint)
    return folder


def tiny_manifest(
    folder: Path,
    base_digest: str,
    stage: Stage,
    server: str | None = None,
    tool: str | None = None,
    fingerprint: str | None = None,
    **fields: Any,
) -> Manifest:
    """Write a manifest into an adapter folder and return it."""
    manifest = Manifest(
        stage, base_digest, 4, TrainingData("d" * 64, 10), server, tool, schema_fingerprint=fingerprint, **fields
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_manifest(manifest, folder)
    return manifest


def _save(config: Any, tokenizer: Any, folder: Path, seed: int, kind: str = "AutoModelForCausalLM") -> Path:
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.manual_seed(seed)
    model = getattr(transformers, kind).from_config(config)
    with torch.no_grad():
        # transformers starts with weights so small that every answer is nearly uniform; spread them out.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
