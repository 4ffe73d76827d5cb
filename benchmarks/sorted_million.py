"""The concatenation kernel on a million nodes, by sorting; and against dense where that fits."""

from __future__ import annotations

import numpy as np
from _measure import SEED, interleaved, peak_beyond, report

import gspnl

N, C, SIGNALS = 1_000_000, 16, 16


def ours(X: np.ndarray, pair: tuple[np.ndarray, np.ndarray], Z: np.ndarray) -> np.ndarray:
    return gspnl.feature_graph(X, "concatenation", pair, storage="sorted").apply(Z)


def dense(X: np.ndarray, pair: tuple[np.ndarray, np.ndarray], Z: np.ndarray) -> np.ndarray:
    M = np.maximum((X @ pair[0])[:, None] + X @ pair[1], 0)
    W = (M + M.T) / 2
    return W @ Z / W.sum(1, keepdims=True)


def main() -> None:
    rng = np.random.default_rng(SEED)
    X, Z = rng.standard_normal((N, C)), rng.standard_normal((N, SIGNALS))
    pair = tuple(rng.standard_normal((2, C)))
    few = slice(0, 8000)
    memory = peak_beyond(lambda: ours(X, pair, Z))
    seconds, results = interleaved(
        3,
        million=lambda: ours(X, pair, Z),
        gspnl=lambda: ours(X[few], pair, Z[few]),
        dense=lambda: dense(X[few], pair, Z[few]),
    )
    gap = np.abs(results["gspnl"] - results["dense"]).max() / np.abs(results["dense"]).max()
    report(
        f"Concatenation kernel, float64, {SIGNALS} signals: graph and one application",
        [
            ("dense NumPy / gspnl, N = 8,000", f"{seconds['dense'] / seconds['gspnl']:.0f}"),
            ("gspnl, N = 8,000, s", f"{seconds['gspnl']:.3f}"),
            (f"gspnl, N = {N:,}, s", f"{seconds['million']:.2f}"),
            ("memory beyond the inputs, GiB", f"{memory / 2**30:.2f}"),
            ("largest difference, relative, N = 8,000", f"{gap:.1e}"),
        ],
    )


if __name__ == "__main__":
    main()
