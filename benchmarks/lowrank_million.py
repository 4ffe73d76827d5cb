"""A million nodes, r = 32: graph and exact filter, against the same through scipy's QR."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from _measure import SEED, interleaved, peak_beyond, report

import gspnl

N, C, R, SIGNALS = 1_000_000, 32, 32, 16
T = 3.0


def peer(X: np.ndarray, embed: tuple[np.ndarray, np.ndarray], Z: np.ndarray) -> np.ndarray:
    """exp(−T L) Z of the random-walk graph, from a thin QR of D^-½ [Φ Ψ]."""
    phi, psi = np.maximum(X @ embed[0], 0), np.maximum(X @ embed[1], 0)
    d = (phi @ psi.sum(0) + psi @ phi.sum(0)) / 2
    root = np.sqrt(d)[:, None]
    Q, R_ = scipy.linalg.qr(np.hstack([phi, psi]) / root, mode="economic", check_finite=False)
    J = np.kron([[0, 0.5], [0.5, 0]], np.eye(R))
    mu, V = np.linalg.eigh(R_ @ J @ R_.T)
    U = Q @ V
    y = Z * root
    return (np.exp(-T) * y + U @ ((np.exp(-T * (1 - mu)) - np.exp(-T))[:, None] * (U.T @ y))) / root


def ours(X: np.ndarray, embed: tuple[np.ndarray, np.ndarray], Z: np.ndarray) -> np.ndarray:
    graph = gspnl.feature_graph(X, kernel="dot", embed=embed)
    return graph.filter(Z, gspnl.responses.heat(T))


def main() -> None:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((N, C))
    embed = tuple(rng.standard_normal((2, C, R)) / C**0.5)
    Z = rng.standard_normal((N, SIGNALS))
    ours(X[:1000], embed, Z[:1000])  # imports
    memory = peak_beyond(lambda: ours(X, embed, Z))
    few = slice(0, N // 10)
    seconds, results = interleaved(
        5,
        gspnl=lambda: ours(X, embed, Z),
        tenth=lambda: ours(X[few], embed, Z[few]),
        scipy=lambda: peer(X, embed, Z),
    )
    gap = np.abs(results["gspnl"] - results["scipy"]).max() / np.abs(results["scipy"]).max()
    report(
        f"Low rank, N = {N:,}, r = {R}, float64, {SIGNALS} signals: graph + exact heat filter",
        [
            ("scipy QR / gspnl", f"{seconds['scipy'] / seconds['gspnl']:.1f}"),
            ("gspnl, s", f"{seconds['gspnl']:.3f}"),
            ("scipy QR, s", f"{seconds['scipy']:.3f}"),
            ("largest difference, relative", f"{gap:.1e}"),
            ("memory beyond the inputs, GiB", f"{memory / 2**30:.2f}"),
            (f"N = {N:,} / N = {N // 10:,}", f"{seconds['gspnl'] / seconds['tenth']:.1f}"),
        ],
    )
    graph = gspnl.feature_graph(X, kernel="dot", embed=embed)
    seconds, results = interleaved(1, modes=lambda: graph.spectrum().modes(20))
    modes, lam = results["modes"], graph.spectrum().eigenvalues[:20]
    d = graph.degrees[:, None]
    residual = np.abs(graph.laplacian(modes) - lam * modes).max() / np.abs(modes).max()
    report(
        "The 20 lowest modes of the same graph",
        [
            ("spectrum + modes, s", f"{seconds['modes']:.2f}"),
            ("residual, relative", f"{residual:.1e}"),
            ("orthogonality Uᵀ D U − I", f"{np.abs(modes.T @ (d * modes) - np.eye(20)).max():.1e}"),
        ],
    )


if __name__ == "__main__":
    main()
