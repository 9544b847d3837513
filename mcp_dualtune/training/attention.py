"""Attention for training encoders on a CPU: plain matrix products over contiguous heads.

PyTorch's fused kernel is written for long sequences: on pages of some hundred tokens with a padding mask its backward
pass alone takes twice as long as everything here (numbers in docs/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

PLAIN = "dualtune_plain"
"""Name of this attention in a model's config (`attn_implementation`)."""


def plain_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """[B, H, T, D] queries, keys and values -> [B, T, H, D]; `attention_mask` [B, 1, T, T] is added to the scores."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Autocast would compute the softmax in float32, at twice the time; the values are probabilities and need no more.
    with torch.autocast(query.device.type, enabled=False):
        scores = (query * scale).contiguous() @ key.contiguous().transpose(-1, -2)
        if attention_mask is not None:
            scores = scores + attention_mask.to(scores.dtype)
        return (scores.softmax(-1) @ value.contiguous()).transpose(1, 2).contiguous(), None


def register() -> str:
    """Make it known to transformers; returns its name."""
    AttentionInterface.register(PLAIN, plain_attention)
    AttentionMaskInterface.register(PLAIN, eager_mask)
    return PLAIN
