"""LoRA adapters on the loaded base model: attach, switch, pin and evict.

Owns the adapted layers and the memory of loaded adapters. Refuses to own: which adapter should speak, and training.
PEFT's folders are read, but PEFT's own layers are not used: their switch and load times grow with the number of
loaded adapters, here both are constant.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import nn
from torch.nn import functional

from mcp_dualtune.errors import AdapterError
from mcp_dualtune.types import AdapterRef

BASE = "base"
"""Identity of the model without an adapter."""
WEIGHT_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
PLAIN_INITS = (True, False, "gaussian", "eva", "orthogonal")
"""PEFT initialisations that leave the base weights as they are."""
UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "use_qalora",
)
"""PEFT options that change more than `W x + scale * B A x`."""


Pairs = tuple[tuple[Any, Any], ...]
"""For every adapter that speaks, the lowest first: A [rank, in] and scale * B^T [rank, out]."""


class AdaptedLinear(nn.Module):
    """A base layer that adds a low-rank product while one is set; without one it is the base layer to the bit."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        self.pairs: Pairs = ()

    def forward(self, x: Any) -> Any:
        """[..., in] -> [..., out]."""
        result = self.base(x)
        if not self.pairs:
            return result
        rows, shape = x.reshape(-1, x.shape[-1]), result.shape
        result = result.view(-1, shape[-1])
        for down, up in self.pairs:
            result = torch.addmm(result, functional.linear(rows, down), up)
        return result.view(shape)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)


@dataclass(frozen=True)
class _Adapter:
    """The weights of one adapter in memory."""

    identity: str
    pairs: Mapping[str, Pairs]
    size: int
    """Bytes of its own weights, without those of the adapter below."""


class AdapterStack:
    """The adapters of one model; exactly one of them, or none, is active."""

    def __init__(self, model: Any, megabytes: float = 256) -> None:
        self._model = model
        self._limit = int(megabytes * 2**20)
        self._layers: dict[str, AdaptedLinear] = {}
        self._loaded: OrderedDict[AdapterRef, _Adapter] = OrderedDict()
        self._pinned: set[AdapterRef] = set()
        self._active: _Adapter | None = None

    @property
    def loaded(self) -> tuple[AdapterRef, ...]:
        """Adapters in memory, least recently used first."""
        return tuple(self._loaded)

    @property
    def size(self) -> int:
        """Bytes of all loaded adapters."""
        return sum(adapter.size for adapter in self._loaded.values())

    def use(self, ref: AdapterRef | None) -> str:
        """Make `ref` the active adapter (None: the plain base model); return the identity of its weights.

        The identity is equal only for equal weights and scaling: a key for cached keys and values.

        Raises:
            AdapterError: its files are broken, have changed, or belong to another base model.
        """
        adapter = None if ref is None else self._get(ref)
        if adapter is not self._active:
            old = {} if self._active is None else self._active.pairs
            new = {} if adapter is None else adapter.pairs
            for name in old.keys() - new.keys():
                self._layers[name].pairs = ()
            for name, pairs in new.items():
                self._layers[name].pairs = pairs
            self._active = adapter
            self._evict()
        return BASE if adapter is None else adapter.identity

    def pin(self, ref: AdapterRef) -> None:
        """Load `ref` and never evict it.

        Raises:
            AdapterError: as `use`.
        """
        self._get(ref)
        self._pinned.add(ref)

    def unpin(self, ref: AdapterRef) -> None:
        """Let `ref` be evicted again."""
        self._pinned.discard(ref)
        self._evict()

    def _get(self, ref: AdapterRef) -> _Adapter:
        adapter = self._loaded.get(ref)
        if adapter is None:
            adapter = self._load(ref)
            self._loaded[ref] = adapter
            self._evict(keep=ref)
        self._loaded.move_to_end(ref)
        return adapter

    def _evict(self, keep: AdapterRef | None = None) -> None:
        for ref in list(self._loaded):
            if self.size <= self._limit:
                return
            if ref not in self._pinned and ref != keep and self._loaded[ref] is not self._active:
                del self._loaded[ref]

    def _load(self, ref: AdapterRef) -> _Adapter:
        try:
            config_bytes = (ref.path / "adapter_config.json").read_bytes()
            weight_bytes = (ref.path / "adapter_model.safetensors").read_bytes()
            config = json.loads(config_bytes)
            tensors = load_safetensors(weight_bytes)
        except (OSError, ValueError, SafetensorError) as error:
            raise _unusable(ref, f"its files cannot be read ({error})") from error
        settings = hashlib.sha256(config_bytes).hexdigest()
        if hashlib.sha256(weight_bytes).hexdigest() != ref.digest or ref.settings not in ("", settings):
            raise AdapterError(
                f"The weights of the adapter {ref.name} have changed since it was found.",
                hint="Ask again: a changed adapter is looked up anew.",
                retryable=True,
            )
        _check_config(ref, config)
        own = self._pairs(ref, config, tensors)
        size = sum(part.numel() * part.element_size() for pair in own.values() for part in pair)
        identity = f"{ref.digest}:{settings[:16]}"
        if ref.below is None:
            return _Adapter(identity, {name: (pair,) for name, pair in own.items()}, size)
        # The matrices of the adapter below are shared, not copied: ten adapters on top of one cost little more than it.
        below = self._get(ref.below)
        both = {name: (*below.pairs.get(name, ()), *_one(own, name)) for name in {**below.pairs, **own}}
        return _Adapter(f"{below.identity}+{identity}", both, size)

    def _pairs(
        self, ref: AdapterRef, config: Mapping[str, Any], tensors: Mapping[str, Any]
    ) -> dict[str, tuple[Any, Any]]:
        sides: dict[str, dict[str, Any]] = {}
        for key, tensor in tensors.items():
            match = WEIGHT_KEY.fullmatch(key)
            if match is None:
                raise _unusable(ref, f"it holds {key!r}, which is not a LoRA weight of a linear layer")
            sides.setdefault(match["layer"], {})[match["side"]] = tensor
        if not sides:
            raise _unusable(ref, "it holds no weights")
        ready = {}
        for name, side in sides.items():
            if side.keys() != {"A", "B"}:
                raise _unusable(ref, f"{name} has only one of its two matrices")
            down, up = side["A"], side["B"]
            layer = self._layer(ref, name)
            rank = _pattern(config.get("rank_pattern"), name, config.get("r"))
            expected = ((rank, layer.in_features), (layer.out_features, rank))
            if (tuple(down.shape), tuple(up.shape)) != expected:
                raise _unusable(
                    ref, f"{name} has shapes {tuple(down.shape)} and {tuple(up.shape)}, but this model needs {expected}"
                )
            alpha = _pattern(config.get("alpha_pattern"), name, config.get("lora_alpha"))
            scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
            place = {"device": self._model.device, "dtype": self._model.dtype}
            # The scale is multiplied in before rounding to the model's precision.
            ready[name] = (down.to(**place).contiguous(), (up.float() * scale).T.to(**place).contiguous())
        return ready

    def _layer(self, ref: AdapterRef, name: str) -> AdaptedLinear:
        """The layer called `name`, wrapped when it is adapted for the first time."""
        if name not in self._layers:
            parent_name, _, child_name = name.rpartition(".")
            try:
                parent = self._model.get_submodule(parent_name)
                base = parent.get_submodule(child_name)
            except AttributeError:
                raise _unusable(ref, f"this model has no layer {name}") from None
            if not (hasattr(base, "in_features") and hasattr(base, "out_features")):
                raise _unusable(ref, f"{name} is not a linear layer")
            self._layers[name] = AdaptedLinear(base)
            setattr(parent, child_name, self._layers[name])
        return self._layers[name]


def _one(pairs: Mapping[str, tuple[Any, Any]], name: str) -> Pairs:
    return (pairs[name],) if name in pairs else ()


def _check_config(ref: AdapterRef, config: Any) -> None:
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _unusable(ref, "adapter_config.json does not say `peft_type: LORA`")
    strange = [key for key in UNSUPPORTED if config.get(key)]
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if config.get("init_lora_weights", True) not in PLAIN_INITS:
        strange.append("init_lora_weights")
    if strange:
        raise AdapterError(
            f"The adapter {ref.name} uses {', '.join(strange)}, which is not supported.",
            hint="Train it as plain LoRA on linear layers.",
        )
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float) or config[key] <= 0:
            raise _unusable(ref, f"adapter_config.json has no usable `{key}`")


def _pattern(pattern: Any, layer: str, default: Any) -> Any:
    """PEFT's per-layer values: the first key that ends the layer's name counts."""
    for key, value in (pattern or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", layer):
            return value
    return default


def _unusable(ref: AdapterRef, problem: str) -> AdapterError:
    return AdapterError(
        f"The adapter {ref.name} does not fit: {problem}.", hint=f"Train it again on this base model ({ref.path})."
    )
