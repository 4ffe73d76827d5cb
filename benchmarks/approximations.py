"""Low-rank approximations of an rbf graph: rank against bound, true error and time."""

from __future__ import annotations

import statistics
import time

import numpy as np
from _measure import SEED, report

import gspnl

N, DRAWS = 4_000, 5
RANKS = (64, 128, 256, 512)
CASES = ((3, 1.0), (8, 3.0), (32, 8.0))  # columns, sigma


def core(X: np.ndarray, sigma: float) -> np.ndarray:
    """S of the exact graph, by the plain formula."""
    squares = (X**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0)
    W = np.exp(-distances / (2 * sigma**2))
    root = np.sqrt(W.sum(1))
    return W / root[:, None] / root


def main() -> None:
    for columns, sigma in CASES:
        X = np.random.default_rng(SEED).standard_normal((N, columns))
        exact = core(X, sigma)
        rows = []
        for method in ("cholesky", "nystrom"):
            for rank in RANKS:
                ratios, errors, seconds = [], [], []
                for seed in range(DRAWS):
                    start = time.perf_counter()
                    try:
                        graph = gspnl.feature_graph(
                            X, "rbf", sigma=sigma, rank=rank, approximation=method, seed=seed,
                            normalization="symmetric",
                        )  # fmt: skip
                    except gspnl.errors.DegreeError:
                        continue
                    seconds.append(time.perf_counter() - start)
                    errors.append(float(np.linalg.norm(exact - graph.dense())))
                    ratios.append(graph.approximation.bound / errors[-1])
                    assert ratios[-1] >= 1
                rows.append(
                    (
                        f"{method}, rank {rank}",
                        f"{statistics.median(ratios):6.2f}  {statistics.median(errors):.1e}  "
                        f"{statistics.median(seconds):.3f} s"
                        if ratios
                        else "degrees vanish",
                    )
                )
        report(
            f"rbf, N = {N:,}, {columns} columns, sigma = {sigma:g}, {DRAWS} draws: "
            "bound / ‖S − Ŝ‖, ‖S − Ŝ‖, seconds with the bound",
            rows,
        )


if __name__ == "__main__":
    main()
