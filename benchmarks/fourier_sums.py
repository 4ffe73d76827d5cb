"""Fourier sums against the same by hand on finufft, own tiles, pykeops and scipy's eigsh.

pykeops is optional. Name parts to run only these; ``--small`` takes sizes that run in seconds. A
full run writes ``docs/results/fourier_sums.md`` of a checkout, and its picture.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import finufft
import numpy as np
from _fourier_common import SIGMA, SMALL, TOL, Sizes, fourier, moons, points, signals
from _fourier_page import Table, page
from _fourier_peers import ByHand, adjusted_rand, keops, lowest_by_scipy, residual
from _fourier_sizes import choice, crossover, scaling
from _measure import SEED, interleaved, report

import gspnl

DOCS = Path(__file__).parent.parent / "docs"
PAGE, PICTURE = DOCS / "results" / "fourier_sums.md", DOCS / "_static" / "fourier_sums.svg"


def largest_error(graph: gspnl.FeatureGraph, product: np.ndarray, Z: np.ndarray) -> float:
    """Largest error of A Z at 100 random nodes, over the largest |Z|."""
    nodes = np.random.default_rng([SEED, 2]).choice(graph.n_nodes, 100)
    off = max(np.abs(product[i] - (graph.rows(int(i)) @ Z)).max() for i in nodes)
    return float(off / np.abs(Z).max())


def hand(sizes: Sizes) -> list[Table]:
    """Compare a product of 8 columns with the sum by hand; and its peak memory."""
    n, columns = sizes.hand, 8
    X, Z = points(n, 2), signals(n, columns)
    start = time.perf_counter()
    graph = fourier(X, 1e-9)
    built = time.perf_counter() - start
    start = time.perf_counter()
    plain = ByHand(X, SIGMA[2], columns, 1e-9)
    planned = time.perf_counter() - start
    degrees = plain(np.ones_like(Z))[:, :1]
    graph.apply(Z)  # plans
    seconds, found = interleaved(
        5,
        gspnl=lambda: graph.apply(Z),
        hand=lambda: plain(Z) / degrees,
    )
    peak = int(
        subprocess.run(
            [sys.executable, __file__, "--peak", str(n)], capture_output=True, text=True, check=True
        ).stdout
    )
    return [
        (
            f"Product of {columns} columns, N = {n:,}, d = 2, σ = {SIGMA[2]}, tol = 1e-9, against "
            "the sum by hand on finufft at eps = 1e-9",
            [
                ("gspnl / by hand", f"{seconds['gspnl'] / seconds['hand']:.2f}"),
                ("gspnl, s", f"{seconds['gspnl']:.3f}"),
                ("by hand, s", f"{seconds['hand']:.3f}"),
                ("graph, s (plans by hand)", f"{built:.2f} ({planned:.2f})"),
                ("peak memory of a process, GiB", f"{peak / 2**30:.2f}"),
                ("certified bound of ‖S − Ŝ‖", f"{graph.approximation.bound:.1e}"),
                ("largest error, 100 rows", f"{largest_error(graph, found['gspnl'], Z):.1e}"),
                ("by hand", f"{largest_error(graph, found['hand'], Z):.1e}"),
            ],
        )
    ]


def print_peak(n: int) -> None:
    """Print the peak memory of this process after a graph and a product of 8 columns."""
    fourier(points(n, 2), 1e-9).apply(signals(n, 8))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def tiles(sizes: Sizes) -> list[Table]:
    """Compare graph and product of one column with tiles."""
    n = sizes.tiles
    X, Z = points(n, 2), signals(n, 1)
    fourier(X).apply(Z)  # imports
    seconds, found = interleaved(
        9,
        gspnl=lambda: fourier(X).apply(Z),
        coarse=lambda: fourier(X, 1e-4).apply(Z),
        tiles=lambda: gspnl.feature_graph(X, "rbf", sigma=SIGMA[2], storage="tiled").apply(Z),
    )
    return [
        (
            f"Graph and product of one column, N = {n:,}, d = 2, tol = {TOL:g}, against tiles",
            [
                ("tiles / fourier", f"{seconds['tiles'] / seconds['gspnl']:.3g}"),
                ("tiles / fourier, tol = 1e-4", f"{seconds['tiles'] / seconds['coarse']:.3g}"),
                ("fourier, s", f"{seconds['gspnl']:.3f}"),
                ("tiles, s", f"{seconds['tiles']:.2f}"),
                ("largest difference", f"{np.abs(found['gspnl'] - found['tiles']).max():.1e}"),
            ],
        )
    ]


def against_keops(sizes: Sizes) -> list[Table]:
    """Compare a product with pykeops."""
    n = sizes.keops
    title = f"Product of one column, N = {n:,}, d = 2, double, tol = 1e-9, against pykeops"
    if importlib.util.find_spec("pykeops") is None:
        return [(title, [("pykeops", "skipped: not installed")])]
    import pykeops

    X, Z = points(n, 2), signals(n, 1)
    keops(X[:500], Z[:500], SIGMA[2])  # compiles
    graph = fourier(X, 1e-9)
    graph.apply(Z)  # plans
    seconds, found = interleaved(
        1,
        product=lambda: graph.apply(Z),
        both=lambda: fourier(X, 1e-9).apply(Z),
        keops=lambda: keops(X, Z, SIGMA[2]),
    )
    off = np.abs(found["product"] * graph.degrees[:, None] - found["keops"]).max()
    return [
        (
            title,
            [
                ("pykeops / product", f"{seconds['keops'] / seconds['product']:.3g}"),
                ("pykeops / graph and product", f"{seconds['keops'] / seconds['both']:.3g}"),
                ("product, s", f"{seconds['product']:.3f}"),
                ("graph and product, s", f"{seconds['both']:.3f}"),
                (f"pykeops {pykeops.__version__}, W z alone, s", f"{seconds['keops']:.2f}"),
                ("largest difference / degree", f"{off / graph.degrees.max():.1e}"),
            ],
        )
    ]


def two_moons(sizes: Sizes) -> list[Table]:
    """Time lowest modes, clusters, labels and a heat filter, each on a graph of its own."""
    n, sigma, k = sizes.moons, 0.08, 4
    X, moon = moons(n, SEED)

    def graph(tol: float = TOL) -> gspnl.FeatureGraph:
        return gspnl.feature_graph(X, "rbf", sigma=sigma, approximation="fourier", tol=tol)

    ours, theirs = graph(), graph()
    for g in (ours, theirs):
        g.affinity.apply_core(signals(n, 1))  # plans
    seconds, found = interleaved(1, modes=lambda: ours.spectrum(k))
    U = np.asarray(found["modes"].modes()) * np.sqrt(ours.degrees)[:, None]
    lam, V = found["modes"].eigenvalues, U / np.linalg.norm(U, axis=0)
    equal = residual(ours, lam, V)
    peer, by_scipy = interleaved(1, eigsh=lambda: lowest_by_scipy(theirs, k, equal, SEED))
    other, W, calls = by_scipy["eigsh"]
    given = np.full(n, -1)
    given[:10] = moon[:10]
    z = np.cos(2 * X[:, :1]) + signals(n, 1)
    more, done = interleaved(
        1,
        clusters=lambda: gspnl.spectral_clustering(graph(), 2),
        labels=lambda: gspnl.propagate_labels(graph(), given).labels,
        heat=lambda: graph(1e-8).chebyshev(gspnl.responses.heat(3.0), tol=1e-6),
        filtered=lambda: graph(1e-8).filter(z, gspnl.responses.heat(3.0), tol=1e-6),
    )
    heat = done["heat"]
    return [
        (
            f"Two moons, noise 0.07, N = {n:,}, σ = {sigma}, tol = {TOL:g}; graphs included but "
            "for the modes",
            [
                (f"eigsh / spectrum(k={k})", f"{peer['eigsh'] / seconds['modes']:.1f}"),
                (f"spectrum(k={k}), s", f"{seconds['modes']:.1f}"),
                ("scipy eigsh, s (products)", f"{peer['eigsh']:.1f} ({calls})"),
                ("residuals of both", f"{equal:.1e}, {residual(theirs, other, W):.1e}"),
                ("λ", ", ".join(f"{x:.2e}" for x in lam)),
                ("clusters, s", f"{more['clusters']:.1f}"),
                ("ARI", f"{adjusted_rand(done['clusters'], moon):.5f}"),
                ("labels from ten points, s", f"{more['labels']:.1f}"),
                ("accuracy", f"{(done['labels'] == moon).mean():.5f}"),
                (
                    "heat filter to 1e-6 of one signal, graph to 1e-8, s",
                    f"{more['filtered']:.1f}",
                ),
                ("its order, bound", f"{heat.order}, {heat.error_bound:.1e}"),
            ],
        )
    ]


PARTS: dict[str, Callable[..., list[Table]]] = {
    "hand": hand,
    "tiles": tiles,
    "keops": against_keops,
    "crossover": crossover,
    "choice": choice,
    "scaling": scaling,
    "moons": two_moons,
}


def main() -> None:
    """Run the parts, print the figures and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which (default: all)")
    parser.add_argument("--small", action="store_true", help="sizes that run in seconds")
    parser.add_argument("--out", type=Path, help="write the page there, and the picture beside it")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak is not None:
        print_peak(options.peak)
        return
    sizes = SMALL if options.small else Sizes()
    out, picture, address = options.out, PICTURE, "../_static/" + PICTURE.name
    if out is not None:
        picture, address = out.with_suffix(".svg"), out.with_suffix(".svg").name
    elif not options.small and not options.parts and PAGE.parent.is_dir():
        out = PAGE
    begun, tables = time.perf_counter(), []
    for name in options.parts or PARTS:
        extra = {"picture": picture} if name == "scaling" and out is not None else {}
        found = PARTS[name](sizes, **extra)
        for table in found:
            report(*table)
        tables += found
    if out is not None:
        text = page(tables, f"finufft {finufft.__version__}", time.perf_counter() - begun, address)
        out.write_text(text, encoding="utf-8")
        print(f"\nwritten: {out}")


if __name__ == "__main__":
    main()
