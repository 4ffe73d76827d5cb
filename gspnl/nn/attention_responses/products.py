"""Products with the affinity of an attention: fused, or with stored weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from gspnl.nn.attention_responses.mask import Mask


class Affinity(Protocol):
    """A of an attention by its products, N × M in each head."""

    @property
    def mask(self) -> Mask:
        """The keys that take part."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""

    def apply(self, V: Tensor) -> Tensor:
        """Return A V (B, H, N, c) of V (B, H, M, c)."""


@dataclass(frozen=True, eq=False)
class Fused:
    """A = softmax(s q kᵀ + mask), by fused attention in O(N + M) memory.

    In training each product drops entries of A at random, independently of the others.
    """

    q: Tensor
    k: Tensor
    mask: Mask = field(default_factory=Mask)
    dropout: float = 0.0
    scale: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.q.shape[-2], self.k.shape[-2]

    def apply(self, V: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(
            self.q,
            self.k,
            V,
            attn_mask=self.mask.mask,
            dropout_p=self.dropout,
            is_causal=self.mask.causal,
            scale=self.scale,
        )


@dataclass(frozen=True, eq=False)
class Stored:
    """A as weights (B, H, N, M) that the network computed."""

    weights: Tensor
    mask: Mask = field(default_factory=Mask)

    @property
    def shape(self) -> tuple[int, int]:
        return self.weights.shape[-2], self.weights.shape[-1]

    def apply(self, V: Tensor) -> Tensor:
        return self.weights @ V
