"""Structure of masks: causal triangles, padding, one mask for all heads."""

from __future__ import annotations

import torch
from torch import Tensor

FAR = 1000.0  # exp(-FAR) is 0 in every dtype: scores that are lower by FAR are masked


def compressed(blocked: Tensor) -> tuple[Tensor | None, bool]:
    """Return a mask, True where a key takes part, in the fewest entries, and whether it is causal.

    Parameters
    ----------
    blocked : bool Tensor of shape (B or 1, H or 1, N or 1, M)
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
    for axis in range(3):
        if bool((blocked == blocked.narrow(axis, 0, 1)).all()):
            blocked = blocked.narrow(axis, 0, 1)
    return (~blocked.clone() if bool(blocked.any()) else None), causal


def simplified(mask: Tensor | None, causal: bool) -> tuple[Tensor | None, bool]:
    """Return the mask of a fused attention and whether it is causal, in the simplest form.

    Masks of numbers become bool where they only take keys out: where they are 0 or lower than -FAR,
    and leave each row a key (a row of equal numbers, however low, takes out none).
    """
    if mask is None:
        return None, causal
    if mask.dtype != torch.bool:
        blocked = mask < -FAR
        empty = blocked.all(dim=-1) & ~mask.isneginf().all(dim=-1)
        if bool((~blocked & (mask != 0)).any() | mask.isnan().any() | empty.any()):
            return mask.clone(), causal
        mask = ~blocked
    found, triangle = compressed(~mask)
    return found, causal or triangle
