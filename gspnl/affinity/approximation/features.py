"""Positive random features: unbiased and non-negative, without a certificate."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, like, namespace


def positive_features(a: Array, h: Array, directions: np.ndarray) -> Array:
    r"""Compute positive features F (..., n, m).

    :math:`\mathbb{E}\,⟨F_i, F_j⟩ = \exp(⟨a_i, a_j⟩ - h_i - h_j)` for
    :math:`F_{ik} = \exp(⟨ω_k, a_i⟩ - \|a_i\|^2/2 - h_i) / √m > 0`.

    Parameters
    ----------
    a : array of shape (..., n, t)
    h : array of shape (..., n, 1)
    directions : array of shape (m, t)
        ω, each standard normal.

    References
    ----------
    .. [1] K. Choromanski et al., Rethinking attention with Performers, ICLR 2021.
    """
    xp = namespace(a)
    shift = xp.sum(a * a, axis=-1, keepdims=True) / 2 + h
    return xp.exp(a @ like(directions, a).mT - shift) / len(directions) ** 0.5


def orthogonal_directions(count: int, width: int, seed: int) -> np.ndarray:
    """Draw normal vectors (count, width), orthogonal to each other in groups of ``width``."""
    rng = np.random.default_rng(seed)
    groups = [
        np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(-(-count // width))
    ]
    lengths = np.linalg.norm(rng.standard_normal((count, width)), axis=1)
    signs = rng.choice([-1.0, 1.0], (count, 1))  # LAPACK's QR fixes the signs
    out: np.ndarray = lengths[:, None] * signs * np.concatenate(groups)[:count]
    return out
