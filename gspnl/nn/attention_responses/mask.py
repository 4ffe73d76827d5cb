"""Keys that the queries of an attention see, and means over them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HIDDEN = -1000.0  # exp(−1000) is 0 in every dtype: added to a score, it hides the key


@dataclass(frozen=True, eq=False)
class Mask:
    """Mask of an attention, as :func:`torch.nn.functional.scaled_dot_product_attention` takes it.

    Attributes
    ----------
    mask : Tensor, or None
        Broadcasts to (B, H, N, M): bool, True where a key takes part, or floating, added to the
        scores; entries below −1,000 hide their key.
    causal : bool
        Whether query i sees keys j ≤ i only.
    """

    mask: Tensor | None = None
    causal: bool = False

    def visible(self) -> Tensor | None:
        """Return the mask as bool, True where a key takes part."""
        mask = self.mask
        return mask if mask is None or mask.dtype == torch.bool else mask > HIDDEN

    def of_all_heads(self) -> Mask:
        """Return the mask of one head that sees what any of the heads sees."""
        seen = self.visible()
        if seen is not None and seen.ndim > 2:
            seen = seen.any(-3, keepdim=True)
        return Mask(seen, self.causal)

    def of_tokens(self, queries: int, keys: int) -> Mask:
        """Return the mask between tokens of the output: none where keys are other tokens."""
        return self if queries == keys else Mask()

    def mean(self, V: Tensor, queries: int) -> Tensor:
        """Return the mean of V (B, H, M, c) over the keys that each query sees.

        Returns
        -------
        Tensor of shape (B, H, N, c), or (B, H, 1, c) if all queries see the same keys
            0 for a query that sees none.
        """
        seen, keys = self.visible(), V.shape[-2]
        if seen is None and not self.causal:
            return V.mean(-2, keepdim=True)
        dtype = torch.promote_types(V.dtype, torch.float32)
        if seen is None:
            last = torch.arange(queries, device=V.device).clamp(max=keys - 1)
            sums = V.cumsum(-2, dtype=dtype)
            sums = sums[..., :queries, :] if queries <= keys else sums[..., last, :]
            return (sums / (last + 1)[:, None]).to(V.dtype)
        seen = seen.expand(*seen.shape[:-1], keys)
        if self.causal:
            seen = seen & seen.new_ones(queries, keys).tril()
        count = seen.sum(-1, keepdim=True).clamp(min=1)
        return (seen.to(dtype) / count).to(V.dtype) @ V
