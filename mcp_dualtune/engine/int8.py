"""Linear layers with 8-bit weights for the CPU.

Owns one layer class and the swap. It refuses to own other bit widths: models quantised by bitsandbytes or torchao
bring their own layers.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn


class Int8Linear(nn.Module):
    """A linear layer with int8 weights, one scale per output row, and int8 activations, one scale per token.

    Torch's product has one scale for all tokens of a pass, set by the largest, which garbles the small ones. So every
    token is brought to the same size before it, and back after it.
    """

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.in_features: int = linear.in_features
        self.out_features: int = linear.out_features
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-8).double()
        zero = torch.zeros(len(scale), dtype=torch.long)
        with warnings.catch_warnings():
            # Torch will replace these tensors some day; no other 8-bit product of it is as fast on a CPU yet.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
            quantized = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        self._bias = None if linear.bias is None else linear.bias.detach().float()
        # reduce_range is for CPUs without VNNI, where 8 x 8 bit sums overflow 16 bits; the op checks no hardware.
        self._reduce_range = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        self._packed = torch.ops.quantized.linear_prepack(quantized, None)

    def forward(self, x: Any) -> Any:
        """float [..., in] -> float [..., out]."""
        # Without a copy of all absolute values, and in place: up to a third of the time on long prompts.
        size = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_()).clamp_(min=1e-8)
        found = torch.ops.quantized.linear_dynamic(x / size, self._packed, reduce_range=self._reduce_range)
        return found.mul_(size) if self._bias is None else torch.addcmul(self._bias, found, size, out=found)


def quantize_int8(model: Any) -> None:
    """Replace every linear layer of a float32 model by its 8-bit version, in place; embeddings stay as they are."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))
