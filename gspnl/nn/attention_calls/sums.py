"""Sums of rows of attention weights."""

from __future__ import annotations

import torch
from torch import Tensor

# Largest difference of a sum of rounded weights from 1: half an ulp of each weight, relative.
ALLOWED = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 3e-2}


def off_one(weights: Tensor) -> tuple[float, float]:
    """Return how far sums over the last axis are from 1, and how far they may be.

    Rows of zeros, whose keys are all masked, are left out.
    """
    wide = torch.promote_types(weights.dtype, torch.float32)
    sums = weights.sum(dim=-1, dtype=wide)
    off = torch.where((weights == 0).all(dim=-1), 0.0, (sums - 1).abs())
    return float(off.max()), ALLOWED.get(weights.dtype, 1e-4)
