"""Order 30 against order 1 on a low-rank graph of 300,000 nodes: one pass whatever the order."""

from __future__ import annotations

import numpy as np
from _measure import SEED, interleaved, report

import gspnl

N, C, R, SIGNALS = 300_000, 32, 32, 16


def main() -> None:
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((N, C))
    embed = tuple(rng.standard_normal((2, C, R)) / C**0.5)
    Z = rng.standard_normal((N, SIGNALS))
    graph = gspnl.feature_graph(X, "dot", embed=embed)
    g = gspnl.responses.tikhonov(50.0)

    def run(order: int) -> np.ndarray:
        return graph.filter(Z, g, order=order)

    run(1)
    seconds, _ = interleaved(
        11, first=lambda: run(1), thirtieth=lambda: run(30), exact=lambda: graph.filter(Z, g)
    )
    report(
        f"Low rank, N = {N:,}, r = {R}, {SIGNALS} signals, float64: Chebyshev by order",
        [
            ("order 30 / order 1", f"{seconds['thirtieth'] / seconds['first']:.2f}"),
            ("order 1, s", f"{seconds['first']:.3f}"),
            ("order 30, s", f"{seconds['thirtieth']:.3f}"),
            ("exact, s", f"{seconds['exact']:.3f}"),
        ],
    )


if __name__ == "__main__":
    main()
