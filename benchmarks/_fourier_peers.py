"""What fourier_sums.py compares with: the sum by hand on finufft, pykeops and eigsh."""

from __future__ import annotations

import math

import finufft
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import erfcinv

import gspnl
from gspnl._base.rows import cores


class ByHand:
    """W z for rbf weights in two dimensions: periodise, type 1, multiply, type 2.

    As a user who knows finufft would write it: plans are made once, two real columns travel as one
    complex one, and all columns pass in one call.
    """

    def __init__(self, X: np.ndarray, sigma: float, columns: int, eps: float) -> None:
        L = np.ptp(X, axis=0) / sigma + math.sqrt(2 * math.log(1 / eps))
        m = np.ceil(L * erfcinv(eps) / (math.sqrt(2) * np.pi)).astype(int)
        centred = X - (X.min(axis=0) + X.max(axis=0)) / 2
        theta = np.ascontiguousarray((2 * np.pi / (sigma * L) * centred).T)
        decay = [
            math.sqrt(2 * np.pi) / p * np.exp(-2 * (np.pi * np.arange(-k, k + 1) / p) ** 2)
            for p, k in zip(L, m, strict=True)
        ]
        self.decay = np.outer(*decay)
        self.pairs = columns // 2
        shape = tuple(int(k) for k in 2 * m + 1)
        self.plans = []
        for kind, sign in ((1, -1), (2, 1)):
            plan = finufft.Plan(
                kind, shape, n_trans=self.pairs, eps=eps, isign=sign, nthreads=cores(), showwarn=0
            )
            plan.setpts(*theta)
            self.plans.append(plan)

    def __call__(self, Z: np.ndarray) -> np.ndarray:
        packed = np.ascontiguousarray(Z).view(np.complex128).T
        modes = self.plans[0].execute(np.ascontiguousarray(packed))
        modes *= self.decay
        out = self.plans[1].execute(modes)
        return np.ascontiguousarray(out.T).view(np.float64)


def keops(X: np.ndarray, z: np.ndarray, sigma: float) -> np.ndarray:
    """W z by brute force in pykeops."""
    from pykeops.numpy import LazyTensor

    points = X / sigma
    x, y = LazyTensor(points[:, None, :]), LazyTensor(points[None, :, :])
    product: np.ndarray = (-((x - y) ** 2).sum(-1) / 2).exp() @ z
    return product


def lowest_by_scipy(
    graph: gspnl.FeatureGraph, k: int, tol: float, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the k lowest eigenpairs of I − S by eigsh, and its count of products."""
    calls = 0

    def core(v: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.asarray(graph.affinity.apply_core(v.reshape(-1, 1)))[:, 0]

    n = graph.n_nodes
    v0 = np.random.default_rng(seed).standard_normal(n)
    operator = LinearOperator((n, n), core, dtype=np.float64)
    mu, V = eigsh(operator, k, which="LA", tol=tol, v0=v0)
    return 1 - mu[::-1], V[:, ::-1], calls


def residual(graph: gspnl.FeatureGraph, lam: np.ndarray, V: np.ndarray) -> float:
    """Largest ‖(I − S) v − λ v‖ of columns v of length 1."""
    off = V - np.asarray(graph.affinity.apply_core(V)) - lam * V
    return float(np.linalg.norm(off, axis=0).max())


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index of two partitions."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(x: np.ndarray) -> float:
        return float((x * (x - 1) / 2).sum())

    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / (len(a) * (len(a) - 1) / 2)
    return (pairs(table) - expected) / ((rows + columns) / 2 - expected)
