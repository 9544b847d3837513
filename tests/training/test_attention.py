"""Attention for training: the same numbers as PyTorch's own."""

from __future__ import annotations

import torch
from torch.nn import functional

from mcp_dualtune.training.attention import plain_attention


def test_plain_attention_is_scaled_dot_product_attention() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    mask = torch.zeros(2, 1, 5, 5).masked_fill(torch.tensor([True, True, True, False, False]).logical_not(), -1e9)
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    found, weights = plain_attention(None, query, key, value, mask)
    assert weights is None
    torch.testing.assert_close(found, expected)
    without, _ = plain_attention(None, query, key, value, None, scaling=0.1)
    torch.testing.assert_close(
        without, functional.scaled_dot_product_attention(query, key, value, scale=0.1).transpose(1, 2)
    )
