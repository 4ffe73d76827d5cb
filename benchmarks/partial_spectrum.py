"""The 50 lowest eigenpairs of a tiled rbf graph, against scipy's eigsh on the same operator."""

from __future__ import annotations

import numpy as np
from _measure import SEED, interleaved, peak_beyond, report
from scipy.sparse.linalg import LinearOperator, eigsh

import gspnl

N, C, SIGMA, K = 10_000, 8, 2.0, 50


def main() -> None:
    X = np.random.default_rng(SEED).standard_normal((N, C))
    graph = gspnl.feature_graph(X, kernel="rbf", sigma=SIGMA, storage="tiled")
    root = np.sqrt(graph.degrees)
    calls = 0

    def core(v: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return root * graph.apply(v.reshape(-1) / root)

    def peer() -> np.ndarray:
        nonlocal calls
        calls = 0
        operator = LinearOperator((N, N), core, dtype=np.float64)
        v0 = np.random.default_rng(SEED).standard_normal(N)
        return 1 - eigsh(operator, K, which="LA", tol=1e-10, v0=v0)[0][::-1]

    seconds, results = interleaved(1, gspnl=lambda: graph.spectrum(K), scipy=peer)
    spectrum = results["gspnl"]
    u = spectrum.modes()
    u = u / np.linalg.norm(u, axis=0)
    off = np.abs(spectrum.eigenvalues - results["scipy"]).max()
    memory = peak_beyond(lambda: graph.spectrum(K))
    gaps = np.linalg.norm(graph.laplacian(u) - spectrum.eigenvalues * u, axis=0)
    report(
        f"The {K} lowest eigenpairs, rbf, tiled, N = {N:,}, {C} features, float64",
        [
            ("scipy eigsh / gspnl", f"{seconds['scipy'] / seconds['gspnl']:.1f}"),
            ("gspnl, s", f"{seconds['gspnl']:.2f}"),
            ("scipy eigsh, s (products)", f"{seconds['scipy']:.2f} ({calls})"),
            ("largest ‖Lu − λu‖ / ‖u‖", f"{gaps.max():.1e}"),
            (
                "largest difference in λ",
                f"{off:.1e}",
            ),
            (
                "memory beyond the graph, MiB",
                f"{memory / 2**20:.0f}",
            ),
        ],
    )


if __name__ == "__main__":
    main()
