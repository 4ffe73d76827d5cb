"""Low-rank approximations of an rbf graph: rank against bound, true error and time.

Then the time that ``tol=`` takes, against that of ``rank=`` at the rank it ends with, or until it
is refused.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from _measure import SEED, interleaved, report

import gspnl

N, DRAWS = 4_000, 5
RANKS = (64, 128, 256, 512)
CASES = ((3, 1.0), (8, 3.0), (32, 8.0))  # columns, sigma
ROUNDS = 3
SEARCHES = (  # nodes, columns, sigma, tol; up to 3 columns in the unit cube, else normal
    (2_000, 1, 0.1, 1e-3),
    (2_000, 3, 0.3, 1e-2),
    (5_000, 3, 0.3, 1e-3),
    (5_000, 8, 3.0, 1e-2),
    (10_000, 3, 0.3, 1e-6),
    (20_000, 3, 0.3, 1e-3),
    (20_000, 3, 0.1, 1e-3),
    (20_000, 3, 0.05, 1e-3),
    (20_000, 8, 1.0, 1e-2),
    (20_000, 32, 8.0, 1e-1),
    (50_000, 1, 0.02, 1e-6),
    (50_000, 3, 0.5, 1e-3),
    (50_000, 8, 3.0, 1e-1),
)


def core(X: np.ndarray, sigma: float) -> np.ndarray:
    """S of the exact graph, by the plain formula."""
    squares = (X**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0)
    W = np.exp(-distances / (2 * sigma**2))
    root = np.sqrt(W.sum(1))
    return W / root[:, None] / root


def search(n: int, columns: int, sigma: float, tol: float) -> str:
    """Seconds of ``tol=`` over those of ``rank=`` at its rank, or seconds until a refusal."""
    rng = np.random.default_rng(SEED)
    X = rng.random((n, columns)) if columns <= 3 else rng.standard_normal((n, columns))

    def build(**options: float) -> gspnl.FeatureGraph:
        return gspnl.feature_graph(X, "rbf", sigma=sigma, approximation="cholesky", **options)

    start = time.perf_counter()
    try:
        rank = build(tol=tol).approximation.rank
    except gspnl.errors.EffortError:
        return f"refused after {time.perf_counter() - start:.1f} s"
    seconds, _ = interleaved(ROUNDS, tol=lambda: build(tol=tol), rank=lambda: build(rank=rank))
    return (
        f"{seconds['tol'] / seconds['rank']:5.2f}  {seconds['tol']:.2f} s  "
        f"{seconds['rank']:.2f} s  rank {rank}"
    )


def main() -> None:
    report(
        f"rbf to a tolerance: seconds of tol= / seconds of rank= at its rank, both, medians of "
        f"{ROUNDS}",
        [
            (f"N = {n:,}, {columns} columns, sigma = {sigma:g}, tol = {tol:g}",
             search(n, columns, sigma, tol))
            for n, columns, sigma, tol in SEARCHES
        ],
    )  # fmt: skip
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
