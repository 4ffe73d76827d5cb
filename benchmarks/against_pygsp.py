"""N = 4,096: exact and Chebyshev filters against PyGSP and against a dense eigendecomposition."""

from __future__ import annotations

import logging

import numpy as np
import pygsp
import scipy.linalg
from _measure import SEED, interleaved, peak_beyond, report

import gspnl

N, R, SIGNALS, T, ORDER = 4096, 32, 16, 3.0, 30
ROUNDS = 21
logging.getLogger("pygsp").setLevel(logging.ERROR)


def heat(lam: np.ndarray) -> np.ndarray:
    return np.exp(-T * lam)


def pygsp_graph(W: np.ndarray) -> pygsp.graphs.Graph:
    return pygsp.graphs.Graph(W, lap_type="normalized")


def exact() -> None:
    """Graph and exact heat filter of a low-rank graph, from features against from W."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((N, R))
    embed = tuple(rng.standard_normal((2, R, R)) / R**0.5)
    Z = rng.standard_normal((N, SIGNALS))
    phi, psi = (np.maximum(X @ w, 0) for w in embed)
    W = (phi @ psi.T + psi @ phi.T) / 2
    root = np.sqrt(W.sum(1))[:, None]
    S = W / root / root.T

    def ours(pair: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        return gspnl.feature_graph(X, "dot", embed=pair).filter(Z, gspnl.responses.heat(T))

    def theirs() -> np.ndarray:
        graph = pygsp_graph(W)
        graph.compute_fourier_basis()
        return pygsp.filters.Filter(graph, heat).filter(Z * root, method="exact") / root

    def dense() -> np.ndarray:
        mu, V = scipy.linalg.eigh(S, driver="evd")
        return V @ (heat(1 - mu)[:, None] * (V.T @ (Z * root))) / root

    for _ in range(20):
        ours(embed), ours(None)
    small, _ = interleaved(200, paired=lambda: ours(embed), single=lambda: ours(None))
    large, results = interleaved(3, gspnl=lambda: ours(embed), pygsp=theirs, evd=dense)

    def gap(peer: str) -> float:
        return float(np.abs(results[peer] - results["gspnl"]).max() / np.abs(results[peer]).max())

    report(
        f"N = {N:,}, r = {R}, {SIGNALS} signals, float64: graph + exact heat filter",
        [
            ("PyGSP / gspnl", f"{large['pygsp'] / small['paired']:,.0f}"),
            ("eigh(driver='evd') / gspnl", f"{large['evd'] / small['paired']:,.0f}"),
            ("gspnl, two embeddings, ms (median of 200)", f"{small['paired'] * 1e3:.2f}"),
            ("gspnl, one embedding, ms (median of 200)", f"{small['single'] * 1e3:.2f}"),
            ("PyGSP: Graph, basis, filter, s", f"{large['pygsp']:.2f}"),
            ("dense eigh and filter, W and S given, s", f"{large['evd']:.2f}"),
            ("PyGSP - gspnl, relative", f"{gap('pygsp'):.1e}"),
            ("eigh - gspnl, relative", f"{gap('evd'):.1e}"),
        ],
    )


def chebyshev() -> None:
    """Order 30 on the dense Gaussian graph."""
    rng = np.random.default_rng(SEED + 1)
    X = rng.standard_normal((N, 32)) * 0.3
    Z = rng.standard_normal((N, SIGNALS))

    def fresh() -> gspnl.FeatureGraph:
        return gspnl.feature_graph(X, "gaussian")

    def ours(graph: gspnl.FeatureGraph) -> np.ndarray:
        return graph.filter(Z, gspnl.responses.heat(T), order=ORDER)

    # First, while no freed memory is there to be taken again unseen.
    memory = peak_beyond(lambda: ours(fresh())) / (8 * N * N)
    graph = fresh()
    extra = peak_beyond(lambda: ours(graph)) / (8 * N * N)

    W = np.exp(X @ X.T)
    root = np.sqrt(W.sum(1))[:, None]
    theirs = pygsp_graph(W)
    theirs.estimate_lmax()
    heat_filter = pygsp.filters.Filter(theirs, heat)

    def band_and_filter() -> np.ndarray:
        graph.caches.clear()  # the band is found again, as on a new graph
        return ours(graph)

    seconds, results = interleaved(
        5,
        known=lambda: ours(graph),
        band=band_and_filter,
        pygsp=lambda: heat_filter.filter(Z * root, method="chebyshev", order=ORDER) / root,
    )
    gap = np.abs(results["pygsp"] - results["known"]).max() / np.abs(results["known"]).max()
    report(
        f"N = {N:,}, {SIGNALS} signals, float64, dense Gaussian graph: Chebyshev order {ORDER}",
        [
            ("PyGSP / gspnl, band found anew", f"{seconds['pygsp'] / seconds['band']:.1f}"),
            ("PyGSP / gspnl, band known", f"{seconds['pygsp'] / seconds['known']:.1f}"),
            ("gspnl, band found anew, s", f"{seconds['band']:.3f}"),
            ("gspnl, band known, s", f"{seconds['known']:.3f}"),
            ("PyGSP, λmax known, s", f"{seconds['pygsp']:.3f}"),
            ("difference, relative", f"{gap:.1e}"),
            ("memory of graph and filter, in N² float64", f"{memory:.2f}"),
            ("memory of the filter beyond the graph, in N² float64", f"{extra:.2f}"),
        ],
    )


def sparse() -> None:
    """Order 30 on PyGSP's Bunny, a sparse graph: the first filter of a new graph, and a later one.

    Both are given W; PyGSP also estimates λmax, gspnl its band.
    """
    W = pygsp.graphs.Bunny().W
    n, g = W.shape[0], gspnl.responses.heat(T)
    z = np.random.default_rng(SEED).standard_normal((n, 1))
    ours = [gspnl.from_pygsp(pygsp_graph(W), "symmetric") for _ in range(2)]
    fresh = [pygsp_graph(W) for _ in range(ROUNDS)]
    theirs = pygsp_graph(W)
    theirs.estimate_lmax()
    later = pygsp.filters.Filter(theirs, heat)

    def first(order: int | None, tol: float | None) -> np.ndarray:
        ours[0].caches.clear()  # the band is found again, as on a new graph
        return ours[0].filter(z, g, order, tol=tol)

    def first_of_theirs() -> np.ndarray:
        graph = fresh.pop()
        graph.estimate_lmax()
        return pygsp.filters.Filter(graph, heat).filter(z, method="chebyshev", order=ORDER)

    seconds, results = interleaved(
        ROUNDS,
        gspnl=lambda: first(ORDER, None),
        pygsp=first_of_theirs,
        tol=lambda: first(None, 1e-6),
        again=lambda: ours[1].filter(z, g, order=ORDER),
        pygsp_again=lambda: later.filter(z, method="chebyshev", order=ORDER),
    )
    gap = (
        np.abs(results["pygsp"].reshape(-1) - results["gspnl"].reshape(-1)).max()
        / np.abs(results["pygsp"]).max()
    )
    report(
        f"Bunny, {n:,} nodes, {W.nnz:,} entries, one signal: Chebyshev order {ORDER}",
        [
            ("PyGSP / gspnl, first filter", f"{seconds['pygsp'] / seconds['gspnl']:.2f}"),
            ("PyGSP / gspnl, later ones", f"{seconds['pygsp_again'] / seconds['again']:.2f}"),
            ("gspnl, first filter, ms", f"{seconds['gspnl'] * 1e3:.1f}"),
            ("gspnl, first filter, tol=1e-6, ms", f"{seconds['tol'] * 1e3:.1f}"),
            ("PyGSP, λmax and first filter, ms", f"{seconds['pygsp'] * 1e3:.1f}"),
            ("gspnl, later filters, ms", f"{seconds['again'] * 1e3:.1f}"),
            ("PyGSP, later filters, ms", f"{seconds['pygsp_again'] * 1e3:.1f}"),
            ("difference, relative", f"{gap:.1e}"),
        ],
    )


if __name__ == "__main__":
    sparse()
    chebyshev()
    exact()
