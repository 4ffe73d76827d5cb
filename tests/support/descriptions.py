"""The numbers of a graph's description by plain dense formulas."""

from __future__ import annotations

import numpy as np
import scipy.sparse.csgraph

from support.formulas import eigen


def groups_of(lam):
    """(gap, k or None): the gap behind the k least λ that stand apart, else the largest gap."""
    best = max((lam[i + 1] - lam[i], -i) for i in range(len(lam) - 1) if lam[i] <= 0.3)
    gap, k = best[0], 1 - best[1]
    if gap >= 0.1 and lam[k] >= 2 * lam[k - 1]:
        return gap, k
    ratios = [(lam[i + 1] / max(lam[i], 1e-6), i) for i in range(1, len(lam) - 1) if lam[i] <= 0.1]
    far, i = max(ratios, default=(0, 0))
    return (lam[i + 1] - lam[i], i + 1) if far >= 10 else (gap, None)


def described(W, normalization, A, change):
    """The numbers of a description by plain formulas."""
    d = W.sum(1)
    live = d > 0
    rows = (W if normalization == "combinatorial" else A)[live]
    p = np.abs(rows) / np.abs(rows).sum(1, keepdims=True)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1)
    unit = d.max() if normalization == "combinatorial" else 1.0
    truth = {
        "nodes": len(W),
        "isolated": int((~live).sum()),
        "degrees": (d[live].min(), np.median(d[live]), d[live].max()),
        "degree_ratio": d[live].max() / d[live].min(),
        "effective_neighbors": np.median(np.exp(entropy)),
        "self_weight": np.median(p[np.arange(live.sum()), np.nonzero(live)[0]]),
        "components": scipy.sparse.csgraph.connected_components(W != 0)[0],
        "largest_component": int(
            np.bincount(scipy.sparse.csgraph.connected_components(W != 0)[1]).max()
        ),
    }
    if normalization != "softmax":
        lam = eigen(A, change)[0][int((~live).sum()) :]
        gap, k = groups_of(lam / unit)
        truth |= {
            "second": lam[1],
            "small_eigenvalues": int((lam / unit < 0.1).sum()),
            "gap": gap * unit,
            "groups": k if truth["self_weight"] <= 0.8 else None,
        }
    return truth


def check(found, truth, tolerance):
    """Compare a description with its numbers."""
    for name, value in truth.items():
        got = getattr(found, name)
        if value is None or isinstance(value, int):
            assert got == value, name
        else:
            assert np.allclose(got, value, rtol=tolerance, atol=tolerance), (name, got, value)
