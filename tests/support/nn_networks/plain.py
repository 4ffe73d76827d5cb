"""Attention in float64 NumPy: projections, scores, masks, softmax."""

from __future__ import annotations

import numpy as np
import torch


def array(tensor) -> np.ndarray:
    return tensor.detach().double().numpy() if tensor.is_floating_point() else tensor.numpy()


def linear(x, weight, bias=None) -> np.ndarray:
    """X Wᵀ + b, W of shape (out, in) as in nn.Linear."""
    y = array(x) @ array(weight).T
    return y if bias is None else y + array(bias)


def split(y: np.ndarray, heads: int) -> np.ndarray:
    """(B, N, H c) → (B, H, N, c)."""
    return y.reshape(*y.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def softmax(scores: np.ndarray) -> np.ndarray:
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def attention(q, k, scale=None, bias=0.0) -> np.ndarray:
    """softmax(s q kᵀ + bias) with s = 1/√r by default; bias −∞ where a key takes no part."""
    return softmax((scale or q.shape[-1] ** -0.5) * q @ k.swapaxes(-1, -2) + bias)


def excluded(taken) -> np.ndarray:
    """0 where True, −∞ where False."""
    return np.where(np.asarray(taken), 0.0, -np.inf)


def bias(mask) -> np.ndarray | float:
    """What a mask adds to scores: boolean, True where a key takes part, floating, or None."""
    if mask is None:
        return 0.0
    return excluded(array(mask)) if mask.dtype == torch.bool else array(mask)


def value_output(value, output, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """W_V (H, C, c) and W_O (H, c, C) of nn.Linear weights of shape (H c, C) and (C, H c)."""
    value, output = array(value), array(output)
    return (
        value.reshape(heads, -1, value.shape[1]).swapaxes(1, 2),
        output.T.reshape(heads, -1, output.shape[0]),
    )


def thirds(y) -> list:
    """Three equal parts of the last axis: queries, keys and values."""
    third = y.shape[-1] // 3
    return [y[..., i * third : (i + 1) * third] for i in range(3)]


def weights_of(call):
    """A of a call in float64: its weights, or softmax(s q kᵀ + mask)."""
    if call.weights is not None:
        return array(call.weights)
    q, k = array(call.q), array(call.k)
    k = np.repeat(k, q.shape[1] // k.shape[1], axis=1)
    scores = bias(call.mask)
    if call.causal:
        scores = scores + excluded(np.tri(q.shape[2], k.shape[2], dtype=bool))
    return attention(q, k, scale=call.scale, bias=scores)
