"""Evaluate a kernel on the edges of a neighbour graph, without the other pairs of nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gspnl._base.array import Array, constant64
from gspnl._base.effort import work
from gspnl._base.rows import map_rows
from gspnl.affinity.kernels import Exponential, Kernel
from gspnl.affinity.kernels.calls import named
from gspnl.affinity.kernels.scores import report, score_error
from gspnl.affinity.rescale import rescaled
from gspnl.errors import KernelError

PROBED = 3  # nodes on which a kernel's calls for many nodes are compared with single ones
CALL = 2e5  # operations in the time of a call of a kernel


def weights_and_loops(
    kernel: Kernel, X: np.ndarray, indices: np.ndarray, pair: Any, *, symmetrize: bool, loops: bool
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Compute the weights of the edges, (N, k), of self-loops, (N,), and their log factor."""
    factor = 0.0
    scaled = rescaled(kernel, X, pair)
    if scaled is not None:
        X, pair, factor = scaled
    if loops:
        own = np.arange(len(X), dtype=indices.dtype)
        indices = np.concatenate([indices, own[:, None]], axis=1)
    values, top = edge_weights(kernel, X, indices, pair, symmetrize=symmetrize)
    if loops:
        return values[:, :-1].copy(), values[:, -1], factor + top
    return values, None, factor + top


def edge_weights(
    kernel: Kernel, X: np.ndarray, indices: np.ndarray, pair: Any, *, symmetrize: bool
) -> tuple[np.ndarray, float]:
    """Compute M_ij, or ½(M_ij + M_ji) if ``symmetrize``, on the edges i → j.

    Parameters
    ----------
    kernel : Kernel
        Fitted and checked.
    X : array of shape (N, C)
    indices : array of shape (N, k)
        The neighbours j of each i.
    pair : pair of arrays, or None
        The embedding.

    Returns
    -------
    array of shape (N, k), float
        The weights divided by a common factor, and the logarithm of that factor.
    """
    phi, psi = kernel.embed(X, pair)
    both = symmetrize and psi is not phi
    if isinstance(kernel, Exponential) and type(kernel).affinity is Exponential.affinity:
        q, k = _scores(kernel, phi, psi, X)
        parts = [_inner(q, k, indices)] + [_inner(k, q, indices)] * both
        top = max(float(part.max()) for part in parts)
        with np.errstate(under="ignore"):
            parts = [np.exp(part - top) for part in parts]
    else:
        top = 0.0
        of = _inner if kernel.bilinear else partial(_calls, kernel)
        parts = [of(phi, psi, indices)]
        if both:  # f(φ_j, ψ_i) of an edge i → j
            other = _inner if kernel.bilinear else partial(_calls, kernel, flip=True)
            parts.append(other(psi, phi, indices))
    values = (parts[0] + parts[1]) / 2 if both else parts[0]
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        i, at = (int(part) for part in bad[0])
        raise KernelError(
            f"the {type(kernel).__name__} kernel gave {values[i, at]} for a pair of neighbours, "
            f"and {len(bad)} of {values.size} weights are not finite; scale the features, or use "
            "float64"
        )
    return values.astype(X.dtype, copy=False), top


def _inner(a: Array, b: Array, indices: np.ndarray) -> np.ndarray:
    """Compute ⟨a_i, b_j⟩ on the edges."""

    def products(x: np.ndarray, j: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nc,nkc->nk", x, b[j]))

    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(map_rows(products, a, indices, columns=indices.shape[1] * a.shape[1]))


def _scores(kernel: Any, phi: Array, psi: Array, X: np.ndarray) -> tuple[Array, Array]:
    """Return (q, k) with log f = q kᵀ, in float64."""
    left = phi.astype(np.float64)
    q, k = kernel.scores(left, left if psi is phi else psi.astype(np.float64))
    report(score_error(q, k, same=psi is phi), X)
    return q, k


def _calls(
    kernel: Kernel, phi: Array, psi: Array, indices: np.ndarray, *, flip: bool = False
) -> np.ndarray:
    """Call ``kernel.affinity`` for each node and its neighbours: f(φ_i, ψ_j), or f(ψ_j, φ_i)."""

    def values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = kernel.affinity(b, a) if flip else kernel.affinity(a, b)
        return np.asarray(np.swapaxes(out, -1, -2) if flip else out)

    def many(rows: slice) -> np.ndarray:
        out = values(phi[rows][:, None, :], psi[indices[rows]])
        return out.reshape(-1, indices.shape[1])

    def single(i: int) -> np.ndarray:
        return np.asarray(values(phi[i : i + 1], psi[indices[i]])[0])

    n = len(indices)
    with named(kernel, "affinity"), np.errstate(all="ignore"):
        first = np.stack([single(i) for i in range(min(PROBED, n))])
    if _agree(many, first):
        width = indices.shape[1] * max(phi.shape[1], psi.shape[1])
        step = max(1, (1 << 18) // width)
        with named(kernel, "affinity"), np.errstate(all="ignore"):
            return np.concatenate([many(slice(i, i + step)) for i in range(0, n, step)])
    with (
        named(kernel, "affinity"),
        np.errstate(all="ignore"),
        work(
            f"the weights of {n:,} nodes", CALL * n, n, "let affinity take batches, (..., n, r)"
        ) as shown,
    ):
        out = np.empty(indices.shape, first.dtype)
        for i in range(n):
            out[i] = single(i)
            shown.done += 1
        return out


def _agree(many: Callable[[slice], np.ndarray], first: np.ndarray) -> bool:
    """Tell whether a kernel's affinity takes a batch of points and gives the same values."""
    try:
        with np.errstate(all="ignore"):
            found = many(slice(0, len(first)))
    except Exception:  # it takes two sets of points only
        return False
    return found.shape == first.shape and np.allclose(
        constant64(found), constant64(first), rtol=1e-5, atol=0, equal_nan=True
    )
