"""Attention described by the result of a user's function: weights, or queries and keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.sums import off_one

RETURNS = (
    "return the weights (B, H, N, M) or (B, N, M) after the softmax, or a mapping with 'q' "
    "(B, H, N, r), 'k' (B, H, M, r) and optionally 'v', 'mask', 'causal' and 'scale'"
)
KEYS = frozenset({"q", "k", "v", "mask", "causal", "scale", "weights"})


def as_call(name: str, result: Any) -> AttentionCall:
    """Return the call that a function's result describes."""
    if isinstance(result, Tensor):
        result = {"weights": result}
    if not isinstance(result, Mapping):
        raise _wrong(name, f"returned {type(result).__name__}")
    unknown = sorted(map(str, set(result) - KEYS))
    parts = {key: value for key, value in result.items() if value is not None}
    if unknown or ("weights" not in parts and not {"q", "k"} <= parts.keys()):
        raise _wrong(name, f"returned a mapping with {sorted(map(str, result))}")
    tensors = {
        key: _four_axes(name, key, parts[key])
        for key in ("q", "k", "v", "weights")
        if key in parts and not ("weights" in parts and key in "qk")
    }
    q, k, v, weights = (tensors.get(key) for key in ("q", "k", "v", "weights"))
    if weights is not None:
        _check_weights(name, weights)
    elif (
        q is not None
        and k is not None
        and (q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or q.shape[1] % k.shape[1])
    ):
        raise _wrong(
            name,
            f"returned q {tuple(q.shape)} and k {tuple(k.shape)}, which must agree in B and r, "
            "and whose heads must divide",
        )
    B, H, N, M = _shape(q, k, weights)
    if v is not None and (v.shape[0] != B or v.shape[2] != M or H % v.shape[1]):
        raise _wrong(name, f"returned v {tuple(v.shape)} for {M} keys in {B} items and {H} heads")
    mask = parts.get("mask")
    if mask is not None:
        mask = _checked_mask(name, mask, (B, H, N, M))
    r = 1 if q is None else q.shape[3]
    return AttentionCall(
        layer=name,
        source="given",
        q=q,
        k=k,
        v=v,
        weights=weights,
        mask=mask,
        causal=bool(parts.get("causal", False)),
        scale=_scale(name, parts.get("scale", 1 / math.sqrt(r))),
        cross=N != M,
    )


def _shape(q: Tensor | None, k: Tensor | None, weights: Tensor | None) -> tuple[int, ...]:
    if q is not None and k is not None:
        return (*q.shape[:3], k.shape[2])
    return () if weights is None else tuple(weights.shape)


def _four_axes(name: str, key: str, tensor: Any) -> Tensor:
    """Return a copy with an axis of heads."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise _wrong(name, f"returned {key} as {kind}, not a floating-point tensor")
    if tensor.ndim not in (3, 4) or 0 in tensor.shape:
        raise _wrong(name, f"returned {key} of shape {tuple(tensor.shape)}")
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(
            f"attention[{name!r}] returned {key} that are not finite (NaN or infinite); see what "
            "the layers before it make of this batch"
        )
    copy: Tensor = tensor.detach().clone()
    return copy if copy.ndim == 4 else copy.unsqueeze(1)


def _check_weights(name: str, weights: Tensor) -> None:
    off, allowed = off_one(weights)
    if off > allowed or bool((weights < 0).any()):
        sums = weights.double().sum(-1)
        what = f"whose rows sum to {float(sums.min()):.4g} … {float(sums.max()):.4g}, not to 1"
        if off <= allowed:
            what = f"that are negative (down to {float(weights.min()):.3g})"
        raise _wrong(name, f"returned weights {what} (dtype {weights.dtype}, tolerance {allowed})")


def _checked_mask(name: str, mask: object, shape: tuple[int, ...]) -> Tensor:
    if isinstance(mask, Tensor) and (mask.dtype == torch.bool or mask.is_floating_point()):
        try:
            mask.expand(shape)
        except RuntimeError:
            raise _wrong(
                name, f"returned a mask {tuple(mask.shape)} that does not broadcast to {shape}"
            ) from None
        return _of_four_axes(mask)
    raise _wrong(name, "returned a mask that is neither a bool nor a floating-point tensor")


def _of_four_axes(mask: Tensor) -> Tensor:
    return mask.detach().clone().reshape(*(1,) * (4 - mask.ndim), *mask.shape)


def _scale(name: str, scale: Any) -> float:
    try:
        number = float(scale)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(name, f"returned scale={scale!r}, not a finite number")
    return number


def _wrong(name: str, what: str) -> InputError:
    return InputError(f"attention[{name!r}] {what}; {RETURNS}")
