"""Chebyshev filters: coefficients, intervals and certificates."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import integrate

from gspnl.chebyshev import fit
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.responses import RESPONSES
from gspnl.theory import dense
from gspnl.theory.claims import Measured, claim
from gspnl.theory.eigenvalues import all_eigenvalues, gaussian_features, gaussian_modes
from gspnl.theory.subject import Subject

SHARP = RESPONSES["tikhonov"](50.0)  # the response of the table of orders
FLOOR = 1e-11  # errors near rounding are not compared
ROUNDING_LEVEL = 1e-13  # errors below this are rounding, and differ between machines


def by_quadrature(g: Any, k: int) -> float:
    """(2 − δ_k0)/π ∫ g(1 + cos t) cos kt dt."""
    area = integrate.quad(lambda t: g(np.array([1 + np.cos(t)]))[0] * np.cos(k * t), 0, np.pi)[0]
    return float((2 - (k == 0)) / np.pi * area)


@claim(
    "coefficients",
    "the coefficients of the Chebyshev series are cosine integrals of the response",
    source="eqs. 5 and 6",
    equation=r"\theta_k = \tfrac{2 - \delta_{k0}}{\pi} \int_0^\pi g(1 + \cos t) \cos kt\, dt",
    tolerance=1e-9,
    because="error of adaptive quadrature: at most 1.5e-8, usually 1e-13",
)
def coefficients(subject: Subject, *, integral: Any = by_quadrature) -> Measured:
    """Compare quadrature with gspnl's cosine transform at an order that resolves the response."""
    g = RESPONSES["heat"](2.0 + subject.seed % 3)
    theta = fit(g, order=40).coefficients
    return Measured(max(abs(integral(g, k) - theta[k]) for k in range(6)), len(subject.sample))


def minimax_error(g: Any, order: int, interval: tuple[float, float]) -> float:
    """Sup error of the best polynomial on an interval, measured on a fine grid."""
    series = fit(g, order, interval, method="minimax")
    lam = (interval[0] + interval[1] - (interval[1] - interval[0]) * np.cos(
        np.linspace(0, np.pi, 4001)
    )) / 2  # fmt: skip
    return float(np.abs(series(lam) - g(lam)).max())


def _largest_ratio(miss: Any, outer: tuple[float, float], inner: tuple[float, float]) -> float:
    """The largest ratio of errors, inner to outer interval, over orders with errors above FLOOR."""
    worst = 0.0
    for order in (1, 2, 4, 8):
        wide = miss(SHARP, order, outer)
        if wide > FLOOR:
            worst = max(worst, miss(SHARP, order, inner) / wide)
    return worst


@claim(
    "interval-true",
    "at every order the best polynomial on the true interval [0, λmax] has at most the error of "
    "the best polynomial on [0, 2]",
    source="sec. 3.1, λmax = 2",
    equation=r"E_K([0, \lambda_{\max}]) \le E_K([0, 2])",
    tolerance=1.002,
    because="a ratio, at most 1; Remez stops within 1e-3 of the best, on either side",
)
def interval_true(subject: Subject, *, error: Any = minimax_error) -> Measured:
    """Minimax errors at orders 1, 2, 4, 8."""
    lam = all_eigenvalues(subject.graph("random_walk").spectrum())
    return Measured(_largest_ratio(error, (0.0, 2.0), (0.0, float(lam[-1]))), len(lam))


@claim(
    "interval-band",
    "with the constant mode deflated the interval is [λ₂, λmax], on which the best polynomial of "
    "the same order has at most the same error, and usually a far smaller one",
    source="sec. 3.1, eq. 7 (why order 1 suffices)",
    equation=r"E_K([\lambda_2, \lambda_{\max}]) \le E_K([0, \lambda_{\max}])",
    tolerance=1.002,
    because="a ratio, at most 1; Remez stops within 1e-3 of the best, on either side",
)
def interval_band(subject: Subject, *, error: Any = minimax_error) -> Measured:
    """Minimax errors at orders 1, 2, 4, 8."""
    lam = all_eigenvalues(subject.graph("random_walk").spectrum())
    top = float(lam[-1])
    low = min(float(lam[1]), top - 1e-3 * top)  # two nodes leave a single point
    return Measured(_largest_ratio(error, (0.0, top), (low, top)), len(lam))


TABLE = {
    2: (0.76, 0.70, 5.6e-7),
    5: (0.55, 0.33, 6.1e-13),
    30: (3.7e-3, 3.4e-4, 1.5e-14),
}


@claim(
    "deflation-table",
    "on the Gaussian graph, the errors of orders 2, 5 and 30 on [0, 2], on [0, λmax] and deflated "
    "are those of the printed table within a factor of 10",
    source="sec. 3.1, eq. 7 (the error of order 1; the table is gspnl's)",
    equation=r"g(\lambda) = 1/(1 + 50 \lambda) , \quad K = 2, 5, 30",
    tolerance=1.0,
    because="a difference of decimal logarithms: the table is from another draw; errors below "
    "1e-13 are rounding and count as equal",
)
def deflation_table(subject: Subject, *, filtered: Any = FeatureGraph.filter) -> Measured:
    """Compare gspnl's filters with those by dense modes."""
    lam, U = gaussian_modes(subject)
    graph = feature_graph(
        gaussian_features(subject), "rbf", normalization="symmetric", sigma=32**0.5,
        self_loops=False,
    )  # fmt: skip
    Z = subject.rng("table").standard_normal((len(lam), 2))
    truth = U @ (SHARP(lam)[:, None] * (U.T @ Z))
    worst = 0.0
    for order, row in TABLE.items():
        options: list[dict[str, Any]] = [
            {"deflate": False}, {"deflate": False, "interval": (0.0, float(lam[-1]))}, {}
        ]  # fmt: skip
        for printed, given in zip(row, options, strict=True):
            value = dense.distance(filtered(graph, Z, SHARP, order, **given), truth)
            ratio = max(value, ROUNDING_LEVEL) / max(printed, ROUNDING_LEVEL)
            worst = max(worst, abs(float(np.log10(ratio))))
    return Measured(worst, len(lam))


@claim(
    "certificate",
    "the error of a Chebyshev filter is at most its certificate, at every order, on a low-rank "
    "and on a dense graph",
    source="eq. 5, the approximation (no error is given there)",
    equation=r"\|T^{-1}(g(L) - p_K(L)) Z\| \le \varepsilon_K\, \|T^{-1} Z\|",
    tolerance=1.0,
    because="a ratio of error to bound; the bound includes rounding",
)
def certificate(subject: Subject, *, bound: Any = lambda plan: plan.error_bound) -> Measured:
    """Measure the largest ratio of error to bound: orders 0 to 10, three responses."""
    rbf = subject.keep(
        "rbf", lambda: feature_graph(subject.sample, "rbf", sigma=subject.features.shape[1] ** 0.5)
    )
    worst = 0.0
    for graph in (subject.graph("random_walk"), rbf):
        A = np.asarray(graph.dense())
        change = 1 / np.sqrt(np.asarray(graph.degrees))
        lam, U, inverse = dense.modes(A, change)
        Z = subject.signals()
        size = graph.norm(Z)
        for g in (RESPONSES["heat"](3.0), SHARP, RESPONSES["snl"](W1, W2)):
            truth = U @ (g(lam)[:, None] * (inverse @ Z))
            noise = 1e-14 * float(np.abs(g(lam)).max())  # rounding of the dense reference
            for order in (0, 1, 2, 4, 7, 10):
                for deflate in (None, False):
                    plan = graph.chebyshev(g, order, deflate=deflate)
                    error = graph.norm(plan(Z) - truth) / size
                    worst = max(worst, error / (bound(plan) + noise))
    return Measured(worst, len(A))


W1, W2 = 0.7, -1.3


def omitted_coefficients(c: np.ndarray, order: int) -> float:
    """Sum of the magnitudes of c_j, j > K."""
    return float(np.abs(c[order + 1 :]).sum())


@claim(
    "certificate-tail",
    "the error of the truncated series is at most the sum of the omitted coefficients, and that of "
    "the interpolant at most twice that sum",
    source="eq. 5, the approximation (no error is given there)",
    equation=r"\sup |g - p_K| \le \sum_{j \gt K} |c_j|",
    tolerance=1 + 1e-9,
    because="a ratio, equal to 1 where the omitted terms all have one sign at an end of [0, 2]; "
    "orders whose errors reach rounding are left out",
)
def certificate_tail(subject: Subject, *, remainder: Any = omitted_coefficients) -> Measured:
    """Measure errors on a fine grid, for heat and Tikhonov."""
    lam = 1 - np.cos(np.linspace(0, np.pi, 4001))
    worst = 0.0
    for g in (RESPONSES["heat"](3.0), RESPONSES["tikhonov"](1.0 + subject.seed % 5)):
        c = fit(g, order=400).coefficients
        for order in range(1, 12):
            cut = np.polynomial.chebyshev.chebval(lam - 1, c[: order + 1])
            error = float(np.abs(cut - g(lam)).max())
            through = float(np.abs(fit(g, order)(lam) - g(lam)).max())
            if min(error, through) > FLOOR:
                left = remainder(c, order)
                worst = max(worst, error / left, through / (2 * left))
    return Measured(worst, len(subject.sample))
