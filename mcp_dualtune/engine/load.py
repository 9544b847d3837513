"""A model folder -> the model in memory, its tokenizer and its digest.

Owns precision, device and what counts as a usable folder. Refuses to own: adapters, caches and decoding. The model
framework is imported when a model is loaded, not before: it takes seconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp_dualtune.errors import ModelLoadError

Precision = Literal["auto", "bf16", "int8", "float32"]
"""`auto` is int8 on a CPU and bf16 elsewhere."""
Device = Literal["cpu", "cuda", "auto"]

ATTENTION_LAYERS = {"full_attention", "sliding_attention"}
"""Layers whose state is keys and values per token: what the prefix cache can cut and reuse."""


@dataclass(frozen=True)
class LoadedModel:
    """A base model, ready to run."""

    model: Any
    """The transformers model in evaluation mode."""
    tokenizer: Any
    digest: str
    context_length: int
    threads: int | None = None
    """CPU threads to use; None leaves the choice to the engine."""


def model_digest(folder: Path) -> str:
    """sha256 hex over config, weights and tokenizer of a model folder.

    Raises:
        ModelLoadError: one of them is missing or unreadable.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelLoadError(
            f"The model folder {folder} has no *.safetensors weights.",
            hint="Save the model in Hugging Face's safetensors format, or correct dualtune.model.path.",
        )
    total = hashlib.sha256()
    for path in (folder / "config.json", *weights, folder / "tokenizer.json"):
        try:
            with path.open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelLoadError(
                f"The model folder {folder} has no readable {path.name}: {error.strerror}.",
                hint="A model folder needs config.json, tokenizer.json and *.safetensors.",
            ) from error
        total.update(f"{path.name} {part}\n".encode())
    return total.hexdigest()


def load_model(
    folder: Path,
    precision: Precision = "bf16",
    device: Device = "cpu",
    threads: int | None = None,
    digest: str | None = None,
) -> LoadedModel:
    """Load a causal language model and its fast tokenizer from a local folder; nothing is downloaded.

    A `digest` that is known already saves reading all weights once more.

    Raises:
        ModelLoadError: the folder holds no usable model, or the device or precision does not fit it.
    """
    loaded = _load(folder, "AutoModelForCausalLM", precision, device, threads, digest)
    config = loaded.model.config.get_text_config(decoder=True)
    problem = None
    if loaded.tokenizer.eos_token_id is None:
        problem = "its tokenizer has no end token"
    elif set(getattr(config, "layer_types", None) or ()) - ATTENTION_LAYERS:
        problem = "it has layers without attention, whose state cannot be cut at a token"
    if problem:
        raise _unusable(folder, problem)
    return loaded


def load_encoder(
    folder: Path, precision: Precision = "bf16", device: Device = "cpu", threads: int | None = None
) -> LoadedModel:
    """Load a text encoder of the BERT family and its fast tokenizer from a local folder.

    Raises:
        ModelLoadError: as `load_model`.
    """
    loaded = _load(folder, "AutoModel", precision, device, threads)
    if loaded.tokenizer.cls_token_id is None or loaded.tokenizer.sep_token_id is None:
        raise _unusable(folder, "its tokenizer has no start and separator tokens")
    return loaded


def load_tokenizer(folder: Path) -> Any:
    """Load a fast tokenizer from a local folder, without its model.

    Raises:
        ModelLoadError: the folder holds none.
    """
    import transformers  # noqa: PLC0415

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # As for models: many kinds of errors, one meaning.
    except Exception as error:
        raise ModelLoadError(
            f"The tokenizer in {folder} cannot be loaded: {error}",
            hint="The folder needs tokenizer.json and tokenizer_config.json.",
        ) from error
    if not getattr(tokenizer, "is_fast", False) or tokenizer.eos_token_id is None:
        raise _unusable(folder, "its tokenizer is not a fast one, or has no end token")
    return tokenizer


def _load(
    folder: Path, kind: str, precision: Precision, device: Device, threads: int | None, digest: str | None = None
) -> LoadedModel:
    if not folder.is_dir():
        raise ModelLoadError(
            f"The model folder {folder} does not exist.", hint="Correct dualtune.model.path, or leave it out."
        )
    digest = digest or model_digest(folder)
    _refuse_foreign_code(folder)

    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    transformers.utils.logging.disable_progress_bar()
    place = _device(device, torch.cuda.is_available())
    if precision == "auto":
        precision = "int8" if place == "cpu" else "bf16"
    if precision == "int8" and place == "cuda":
        raise ModelLoadError("int8 is for the CPU.", hint='Set precision to "bf16" on a GPU.')
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            attn_implementation="sdpa",
            local_files_only=True,
            use_safetensors=True,
        )
    # transformers raises many kinds for many broken folders; each means that this folder cannot be used.
    except Exception as error:
        raise ModelLoadError(
            f"The model in {folder} cannot be loaded: {error}",
            hint="Check that it is a model of the right kind that this version of transformers knows.",
        ) from error
    model.eval().requires_grad_(False)
    context_length = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if not getattr(tokenizer, "is_fast", False):
        raise _unusable(folder, "its tokenizer is not a fast one")
    if not isinstance(context_length, int):
        raise _unusable(folder, "its config has no max_position_embeddings")
    if precision == "int8" and getattr(model, "hf_quantizer", None) is not None:
        raise _unusable(folder, 'it is quantised already; set precision to "bf16"')
    if precision == "int8":
        from mcp_dualtune.engine.int8 import quantize_int8  # noqa: PLC0415

        quantize_int8(model)
    return LoadedModel(model.to(place), tokenizer, digest, context_length, threads)


def _unusable(folder: Path, problem: str) -> ModelLoadError:
    return ModelLoadError(f"The model in {folder} cannot be used: {problem}.", hint="Use another model.")


def _device(device: Device, has_cuda: bool) -> str:
    if device == "cuda" and not has_cuda:
        raise ModelLoadError("There is no usable CUDA device.", hint='Set device to "cpu" or "auto".')
    return "cuda" if device != "cpu" and has_cuda else "cpu"


def _refuse_foreign_code(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelLoadError(f"{folder / 'config.json'} is not JSON: {error}.", hint="Save the model again.") from error
    if not isinstance(config, dict) or "auto_map" in config:
        raise ModelLoadError(
            f"The model in {folder} brings its own code, which is never run.",
            hint="Use a model whose architecture is part of transformers.",
        )
