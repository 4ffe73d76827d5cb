"""Fourier sums at several N: the crossover with dense and tiled weights, and the slope."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from _fourier_common import SIGMA, TOL, Sizes, fourier, points, signals
from _fourier_page import Table, draw
from _measure import interleaved

import gspnl
from gspnl.errors import GspnlError


def crossover(sizes: Sizes) -> list[Table]:
    """Compare with dense or tiled weights at several sizes, and say where they cross."""
    rows = []
    for d in (1, 2, 3):
        for columns in (1, 8, 32):
            ratios = []
            for n in sizes.crossover:
                X, Z = points(n, d), signals(n, columns)
                seconds, _ = interleaved(
                    3 if n <= 10_000 else 1,
                    fourier=lambda X=X, Z=Z: fourier(X).apply(Z),
                    exact=lambda X=X, Z=Z, d=d: gspnl.feature_graph(X, "rbf", sigma=SIGMA[d]).apply(
                        Z
                    ),
                )
                ratios.append(seconds["exact"] / seconds["fourier"])
            shown = ", ".join(f"{r:.2g}" for r in ratios)
            name = f"d = {d}, {columns} column{'s' * (columns > 1)}"
            rows.append((name, f"{crossing(sizes.crossover, ratios)}; times: {shown}"))
    title = (
        f"N above which fourier (tol = {TOL:g}) is faster than dense or tiled weights, graph and "
        f"product; times faster at N = {', '.join(f'{n:,}' for n in sizes.crossover)}"
    )
    return [(title, rows)]


def crossing(sizes: tuple[int, ...], ratios: list[float]) -> str:
    """Interpolate the N at which the ratio reaches 1 for good."""
    slower = [i for i, ratio in enumerate(ratios) if ratio < 1]
    if not slower:
        return f"below {sizes[0]:,}"
    i = slower[-1]
    if i + 1 == len(sizes):
        return f"above {sizes[-1]:,}"
    low, high = np.log(ratios[i]), np.log(ratios[i + 1])
    n = sizes[i] * (sizes[i + 1] / sizes[i]) ** (-low / (high - low))
    return f"{n:,.0f}"


def choice(sizes: Sizes) -> list[Table]:
    """Show what ``tol`` alone chooses at the same sizes."""
    rows = []
    for d in (1, 2, 3):
        for n in sizes.crossover:
            start = time.perf_counter()
            try:
                taken = gspnl.feature_graph(points(n, d), "rbf", sigma=SIGMA[d], tol=TOL).storage
            except GspnlError as error:
                taken = f"refused: {error}"
            rows.append((f"d = {d}, N = {n:,}", f"{taken}, {time.perf_counter() - start:.2f} s"))
    return [(f"The storage that tol = {TOL:g} alone takes", rows)]


def scaling(sizes: Sizes, picture: Path | None = None) -> list[Table]:
    """Measure graph and product against N."""
    found = []
    for n in sizes.scaling:
        X, Z = points(n, 2), signals(n, 1)
        rounds = 5 if n <= 100_000 else 3 if n <= 1_000_000 else 1
        found.append(interleaved(rounds, run=lambda X=X, Z=Z: fourier(X).apply(Z))[0]["run"])
    logs = np.log(sizes.scaling), np.log(found)
    some = slice(len(found) // 2, None)
    if picture is not None:
        draw(picture, list(sizes.scaling), found, f"d = 2, σ = {SIGMA[2]}, tol = {TOL:g}")
    rows = [(f"N = {n:,}, s", f"{s:.3f}") for n, s in zip(sizes.scaling, found, strict=True)]
    rows.append(("slope of log time in log N", f"{np.polyfit(*logs, 1)[0]:.2f}"))
    large = np.polyfit(logs[0][some], logs[1][some], 1)[0]
    rows.append((f"slope from N = {sizes.scaling[some][0]:,}", f"{large:.2f}"))
    return [(f"Graph and product of one column, d = 2, σ = {SIGMA[2]}, tol = {TOL:g}", rows)]
