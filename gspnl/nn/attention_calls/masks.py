"""Structure of masks: causal triangles, padding, one mask for all heads."""

from __future__ import annotations

import torch
from torch import Tensor


def compressed(blocked: Tensor) -> tuple[Tensor | None, bool]:
    """Return a mask, True where a key takes part, in the fewest entries, and whether it is causal.

    Parameters
    ----------
    blocked : bool Tensor of shape (B, H, N, M)
        True where a key is taken out.

    Returns
    -------
    mask : bool Tensor that broadcasts to (B, H, N, M), or None
        None where nothing is taken out but by the causal triangle.
    causal : bool
        Whether query i sees keys j ≤ i only; this is not in the mask then.
    """
    N, M = blocked.shape[-2:]
    causal = False
    if N == M > 1:
        above = torch.ones(N, M, dtype=torch.bool, device=blocked.device).triu(1)
        causal = bool((blocked | ~above).all())
        if causal:
            rest = blocked & ~above
            columns = rest.any(dim=-2, keepdim=True)
            whole = bool((rest == (columns & ~above)).all())
            blocked = columns if whole else rest
    for axis in range(4):
        if axis != 3 and bool((blocked == blocked.narrow(axis, 0, 1)).all()):
            blocked = blocked.narrow(axis, 0, 1)
    return (~blocked if bool(blocked.any()) else None), causal
