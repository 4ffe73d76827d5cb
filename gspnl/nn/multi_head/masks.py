"""Masks of torch's multi-head attention, in which True hides, joined into one."""

from __future__ import annotations

import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.attention_responses import Mask


def joined_mask(
    shape: tuple[int, int, int, int],
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    is_causal: bool,
) -> Mask:
    """Join the masks of :class:`torch.nn.MultiheadAttention`.

    Parameters
    ----------
    shape : tuple
        (B, H, N, M).
    key_padding_mask : Tensor of shape (B, M), or None
        bool, True for padding, or floating, added to the scores.
    attn_mask : Tensor of shape (N, M) or (B·H, N, M), or None
        bool, True for pairs that do not attend, or floating, added to the scores.
    is_causal : bool
        Whether ``attn_mask``, if there is one, is the causal mask.

    Raises
    ------
    InputError
        For other shapes and dtypes.
    """
    b, h, n, m = shape
    if is_causal:
        attn_mask = None
        if key_padding_mask is None:
            return Mask(causal=True)
        attn_mask = torch.ones(n, m, dtype=torch.bool, device=key_padding_mask.device).triu(1)
    if attn_mask is not None:
        _check("attn_mask", attn_mask, ((n, m), (b * h, n, m)))
        if attn_mask.ndim == 3:
            attn_mask = attn_mask.reshape(b, h, n, m)
    if key_padding_mask is not None:
        _check("key_padding_mask", key_padding_mask, ((b, m),))
        key_padding_mask = key_padding_mask[:, None, None, :]
    masks = [each for each in (key_padding_mask, attn_mask) if each is not None]
    if not masks:
        return Mask()
    if all(each.dtype == torch.bool for each in masks):
        hidden = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        return Mask(~hidden)
    added = [_added(each, masks) for each in masks]
    return Mask(added[0] if len(added) == 1 else added[0] + added[1])


def check_mask(mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise InputError unless a mask broadcasts to (B, H, N, M)."""
    if mask is None:
        return
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    fits = mask.ndim <= len(shape) and all(size in (1, wanted) for size, wanted in sizes)
    _check("attn_mask", mask, (tuple(mask.shape),) if fits else (tuple(shape),))


def widened(mask: Tensor | None, more: int) -> Tensor | None:
    """Return a mask with ``more`` keys at the end that every query sees."""
    return mask if mask is None or not more else torch.nn.functional.pad(mask, (0, more))


def _check(name: str, mask: Tensor, shapes: tuple[tuple[int, ...], ...]) -> None:
    if tuple(mask.shape) not in shapes:
        raise InputError(
            f"{name} has shape {tuple(mask.shape)}, and this attention takes "
            f"{' or '.join(map(str, shapes))}"
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputError(
            f"{name} has dtype {mask.dtype}; give bool, True where a key is hidden, or floats that "
            "are added to the scores"
        )


def _added(mask: Tensor, masks: list[Tensor]) -> Tensor:
    """Return a mask as floats to be added."""
    if mask.dtype != torch.bool:
        return mask
    dtype = next(each.dtype for each in masks if each.dtype != torch.bool)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -torch.inf)
