"""Check that weights equal their transpose: entry by entry, or by random probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from gspnl._base.array import constant
from gspnl.errors import InputError

ROUNDING = 64  # units of rounding by which W and Wᵀ may differ
PROBES = 3  # pairs of random vectors


def symmetrized(W: Any, normalization: str) -> Any:
    """Return W, or ½(W + Wᵀ) if W and Wᵀ differ by rounding; raise if they differ by more.

    The difference of w_ij and w_ji is compared with √(m_i m_j), m_i the largest weight of node i.
    That is the scale of the normalised matrix, whatever the size of the weights.
    """
    sparse = scipy.sparse.issparse(W)
    values: Any = W if sparse else constant(W)
    with np.errstate(over="ignore"):  # an overflow counts as a difference
        gap = abs(values - (values.T if sparse else np.swapaxes(values, -1, -2)))
    if sparse:
        gap = gap.tocoo()
    places = gap.coords if sparse else np.nonzero(gap)
    gaps = gap.data if sparse else gap[places]
    if not gaps.any():
        return W
    peaks = np.sqrt(_peaks(values))
    *batch, i, j = places
    scale = peaks[(*batch, i)] * peaks[(*batch, j)]
    bad = np.nonzero(gaps > ROUNDING * np.finfo(values.dtype).eps * scale)[0]
    if len(bad):
        entry = tuple(int(part[bad[0]]) for part in (*batch, i, j))
        mirror = (*entry[:-2], entry[-1], entry[-2])
        raise InputError(
            f"normalization={normalization!r} needs W = Wᵀ, and {len(bad) // 2} pair(s) differ, "
            f"first W{list(entry)} = {values[entry]:.6g} and W{list(mirror)} = "
            f"{values[mirror]:.6g}; "
            "pass (W + W.T)/2, normalization='softmax', which takes directed edges as they are, or "
            "'chung', which averages their walk and its time reversal"
        )
    # SciPy's division of a sparse float32 array would give float64.
    return ((W + W.T) * W.dtype.type(0.5)).tocsr() if sparse else (W + W.mT) / 2


def _peaks(values: Any) -> np.ndarray:
    """Return the largest magnitude in the row and the column of each node, (..., N)."""
    sizes: Any = abs(values)
    if scipy.sparse.issparse(values):
        parts = [sizes.max(axis=axis).toarray().ravel() for axis in (1, 0)]
    else:
        parts = [sizes.max(-1), sizes.max(-2)]
    return np.asarray(np.maximum(*parts))


def probe_symmetry(
    matmul: Callable[[np.ndarray], np.ndarray], n: int, normalization: str, seed: int
) -> None:
    r"""Raise where random probes show that an operator differs from its transpose.

    With E = W − Wᵀ and Gaussian x, y, :math:`P(|x^T E y| ≤ t\,‖E‖_2) ≤ t`: given y, xᵀEy is normal
    with standard deviation ‖Ey‖, and the singular values of an antisymmetric E come in pairs. So
    with tolerance τ, an E of norm τ/t passes all three probes with probability at most t³.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, PROBES))
    wx, wy = matmul(x), matmul(y)
    gap = np.abs((x * wy).sum(0) - (y * wx).sum(0))
    norms = [np.linalg.norm(part, axis=0) for part in (x, wy, y, wx)]
    tau = ROUNDING * np.finfo(wx.dtype).eps * (norms[0] * norms[1] + norms[2] * norms[3])
    if not (gap <= tau).all():
        worst = int(np.argmax(gap - tau))
        raise InputError(
            f"normalization={normalization!r} needs a symmetric operator, and ⟨x, W y⟩ and "
            f"⟨W x, y⟩ differ by {gap[worst]:.3g} for a random x and y, {tau[worst]:.1e} being "
            "rounding; pass ½(W + Wᵀ), or normalization='softmax' or 'chung'"
        )
