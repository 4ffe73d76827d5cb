"""N = 100,000, k = 16: neighbour graph and exact filter against scikit-learn's search alone."""

from __future__ import annotations

import os

import numpy as np
import sklearn
from _measure import SEED, interleaved, report
from sklearn.neighbors import kneighbors_graph

import gspnl

N, K, SIGNALS, T = 100_000, 16, 16, 3.0
ROUNDS = {2: 9, 3: 7, 8: 3, 32: 3}  # columns of X → rounds


def heat(columns: int, rounds: int) -> None:
    """Graph and heat filter, of the features and of 16 signals."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((N, columns))
    Z = rng.standard_normal((N, SIGNALS))
    g = gspnl.responses.heat(T)
    graph = gspnl.neighbor_graph(X, K)

    def both(signals: np.ndarray) -> np.ndarray:
        return gspnl.neighbor_graph(X, K).filter(signals, g)

    both(X)
    seconds, _ = interleaved(
        rounds,
        sklearn=lambda: kneighbors_graph(X, K),
        graph=lambda: gspnl.neighbor_graph(X, K),
        features=lambda: both(X),
        signals=lambda: both(Z),
        again=lambda: graph.filter(Z, g),
    )
    alone = seconds["sklearn"]
    report(
        f"N = {N:,}, {columns} columns, k = {K}, float64: graph + exact heat filter, beside "
        f"kneighbors_graph of scikit-learn {sklearn.__version__}",
        [
            ("graph and filter of X / kneighbors_graph", f"{seconds['features'] / alone:.2f}"),
            (f"the same, {SIGNALS} signals", f"{seconds['signals'] / alone:.2f}"),
            ("graph alone / kneighbors_graph", f"{seconds['graph'] / alone:.2f}"),
            ("kneighbors_graph, s", f"{alone:.2f}"),
            ("neighbor_graph, s", f"{seconds['graph']:.2f}"),
            (f"a later filter of {SIGNALS} signals, s", f"{seconds['again']:.2f}"),
            ("search", graph.storage_reason),
            ("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "unset")),
        ],
    )


if __name__ == "__main__":
    for columns, rounds in ROUNDS.items():
        heat(columns, rounds)
