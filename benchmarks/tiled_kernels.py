"""Tiled kernels against a dense matrix, pykeops (rbf) and two SDPA calls (embedded Gaussian).

pykeops and torch are optional: ``pip install pykeops torch``.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from _measure import SEED, interleaved, peak_beyond, report

import gspnl

D, C, SIGMA = 32, 32, 5.0


def dense_rbf(X: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Build, normalise, multiply: the ten lines that everybody writes, in place."""
    points = (X - X.mean(0)) / np.float32(SIGMA)
    half = (points * points).sum(1) / 2
    W = points @ points.T
    W -= half[:, None]
    W -= half
    np.exp(W, out=W)
    W /= W.sum(1, keepdims=True)
    return W @ Z


def keops_rbf(X: np.ndarray, Z: np.ndarray) -> np.ndarray:
    from pykeops.numpy import LazyTensor

    points = X / np.float32(SIGMA)
    x, y = LazyTensor(points[:, None, :]), LazyTensor(points[None, :, :])
    W = (-((x - y) ** 2).sum(-1) / 2).exp()
    both = W @ np.concatenate([Z, np.ones_like(Z[:, :1])], axis=1)
    return both[:, :-1] / both[:, -1:]


def tiled_rbf(X: np.ndarray, Z: np.ndarray) -> np.ndarray:
    return gspnl.feature_graph(X, "rbf", sigma=SIGMA, storage="tiled").apply(Z)


def rbf(n: int = 20_000) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n, D)).astype(np.float32)
    Z = rng.standard_normal((n, C)).astype(np.float32)
    tiled_rbf(X[:600], Z[:600])
    memory = peak_beyond(lambda: tiled_rbf(X, Z))
    runs = {"gspnl": lambda: tiled_rbf(X, Z), "dense": lambda: dense_rbf(X, Z)}
    keops = importlib.util.find_spec("pykeops") is not None
    if keops:
        keops_rbf(X[:600], Z[:600])  # compiles
        runs["pykeops"] = lambda: keops_rbf(X, Z)
    seconds, results = interleaved(5, **runs)
    wide = X.astype(np.float64)
    truth = gspnl.feature_graph(wide, "rbf", sigma=SIGMA, storage="tiled").apply(
        Z.astype(np.float64)
    )
    rows = [("dense NumPy / gspnl", f"{seconds['dense'] / seconds['gspnl']:.1f}")]
    if keops:
        rows.append(("pykeops / gspnl", f"{seconds['pykeops'] / seconds['gspnl']:.1f}"))
    rows += [(f"{name}, s", f"{value:.3f}") for name, value in seconds.items()]
    rows += [
        ("gspnl memory beyond the inputs, MiB", f"{memory / 2**20:.0f}"),
        ("gspnl against dense float32", f"{relative(results['gspnl'], results['dense']):.1e}"),
        ("gspnl against float64", f"{relative(results['gspnl'], truth):.1e}"),
        ("dense float32 against float64", f"{relative(results['dense'], truth):.1e}"),
    ]
    report(f"rbf, N = {n:,}, d = c = {D}, float32: build, normalise, multiply", rows)


def large(n: int = 200_000) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n, D)).astype(np.float32)
    Z = rng.standard_normal((n, C)).astype(np.float32)
    seconds, results = interleaved(1, gspnl=lambda: tiled_rbf(X, Z))
    memory = peak_beyond(lambda: tiled_rbf(X[: n // 4], Z[: n // 4]))
    chosen = rng.integers(0, n, 20)  # rows against the plain formula in float64
    wide = X.astype(np.float64)
    W = np.exp(-((wide[chosen, None] - wide[None]) ** 2).sum(-1) / (2 * SIGMA**2))
    truth = W @ Z.astype(np.float64) / W.sum(1, keepdims=True)
    report(
        f"rbf, N = {n:,}: {n * n:.0e} edges",
        [
            ("gspnl, s", f"{seconds['gspnl']:.1f}"),
            (f"memory at N = {n // 4:,}, MiB", f"{memory / 2**20:.0f}"),
            ("20 rows against float64", f"{relative(results['gspnl'][chosen], truth):.1e}"),
        ],
    )


def dense_attention(phi: np.ndarray, psi: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """W = ½(M + Mᵀ), row-normalised, in place as far as it goes."""
    M = phi @ psi.T
    M -= M.max()
    np.exp(M, out=M)
    W = M + M.T
    W /= W.sum(1, keepdims=True)
    return W @ Z


def tiled_attention(X: np.ndarray, embed: Any, Z: np.ndarray) -> np.ndarray:
    graph = gspnl.feature_graph(X, "embedded_gaussian", embed, storage="tiled")
    return graph.apply(Z)


def attention(n: int = 16_384) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((n, D)).astype(np.float32)
    embed = tuple(rng.standard_normal((2, D, D)).astype(np.float32) / D**0.75)
    Z = rng.standard_normal((n, C)).astype(np.float32)
    phi, psi = X @ embed[0], X @ embed[1]
    tiled_attention(X[:600], embed, Z[:600])
    memory = peak_beyond(lambda: tiled_attention(X, embed, Z))
    graph = gspnl.feature_graph(X, "embedded_gaussian", embed, storage="tiled")
    g = gspnl.responses.heat(1.0)
    plan = graph.chebyshev(g, order=10)
    count = len(plan.series.coefficients) - 1
    runs = {
        "gspnl": lambda: tiled_attention(X, embed, Z),
        "dense": lambda: dense_attention(phi, psi, Z),
        "eleven": lambda: [graph.apply(Z) for _ in range(11)],  # as long a load as the filter
        "chebyshev": lambda: plan(Z),
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(2)
        q, k, v = (torch.from_numpy(a)[None, None] for a in (phi, psi, Z))
        sdpa = torch.nn.functional.scaled_dot_product_attention
        runs["sdpa"] = lambda: (sdpa(q, k, v, scale=1.0), sdpa(k, q, v, scale=1.0))
    seconds, results = interleaved(5, **runs)
    first = gspnl.feature_graph(X, "embedded_gaussian", embed, storage="tiled")
    band, _ = interleaved(1, plan=lambda: first.chebyshev(g, order=10))
    rows = [("dense NumPy / gspnl", f"{seconds['dense'] / seconds['gspnl']:.1f}")]
    if "sdpa" in seconds:
        rows.append(("two SDPA / gspnl", f"{seconds['sdpa'] / seconds['gspnl']:.2f}"))
    rows += [
        (
            "Chebyshev order 10, in applications",
            f"{11 * seconds['chebyshev'] / seconds['eleven']:.1f}",
        ),
        ("its products with A", f"{count}"),
        *((f"{name}, s", f"{value:.3f}") for name, value in seconds.items()),
        ("its degrees and its band, once a graph, s", f"{band['plan']:.2f}"),
        ("gspnl memory beyond the inputs, MiB", f"{memory / 2**20:.0f}"),
        ("gspnl against dense float32", f"{relative(results['gspnl'], results['dense']):.1e}"),
    ]
    report(f"Symmetrised embedded Gaussian, N = {n:,}, d = c = {D}, float32", rows)


def relative(value: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(value - truth).max() / np.abs(truth).max())


if __name__ == "__main__":
    rbf()
    attention()
    large()
