"""Error bounds of Chebyshev filters: on the interval, on the spectrum, and by rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._base.array import constant, float64, to_numpy
from gspnl.chebyshev.certificate import Resolved, certify, difference, spectral_error
from gspnl.chebyshev.series import Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target, make_target
from gspnl.filters.cache import SpectralCache
from gspnl.filters.deflation import Deflation
from gspnl.responses.evaluate import evaluate

FULL = (0.0, 2.0)  # where λ lies for non-negative weights


@dataclass(frozen=True)
class Distribution:
    """Eigenvalues and their multiplicities, without vectors."""

    eigenvalues: np.ndarray
    multiplicities: np.ndarray


def band_eigenvalues(
    cache: SpectralCache, count: int, interval: tuple[float, float]
) -> Distribution:
    """Eigenvalues and multiplicities without isolated nodes and the ``count`` lowest modes."""
    spectrum = cache.spectrum
    isolated = cache.affinity.isolated
    drop = count + (int(constant(isolated).sum()) if count and isolated is not None else 0)
    left = np.maximum(np.cumsum(spectrum.multiplicities) - drop, 0)
    left = np.minimum(left, spectrum.multiplicities)
    keep = left > 0
    lam = to_numpy(float64(spectrum.eigenvalues))[keep]
    return Distribution(np.clip(lam, *interval), left[keep])


def balanced(
    target: Target, theta: np.ndarray, deflation: Deflation, resolved: Resolved | None
) -> np.ndarray:
    """Choose among three interpolants the one of least error on the whole graph.

    ``theta`` interpolates on the band; it ignores that most modes of a graph share one λ, mostly 1.
    The second one equals the response at that λ; the third one interpolates on [0, 2]. The score is
    the root mean square error over the graph's density plus a tenth of the largest error on the
    band: the first term makes deflation no worse than the plain interval on a random signal, the
    second one accounts for the modes outside the bulk, where real signals have their energy.
    """
    lo, hi = target.interval
    lam, shares = deflation.density
    truth = target.at(lam)
    bulk = int(np.argmax(shares))
    zeros = nodes(len(theta))
    plain = Series(interpolation_coefficients(Target(target.response, FULL).on(zeros)), FULL)
    candidates = [
        theta,
        _meeting(target, len(theta) - 1, (2 * lam[bulk] - lo - hi) / (hi - lo), truth[bulk]),
        interpolation_coefficients(plain((lo + hi) / 2 + (hi - lo) / 2 * zeros)),
    ]

    def score(candidate: np.ndarray) -> float:
        errors = Series(candidate, target.interval)(lam) - truth
        worst = float(np.abs(errors).max()) if resolved is None else certify(candidate, resolved)
        return math.sqrt(float(shares @ errors**2)) + 0.1 * worst

    return min(candidates, key=score)


def _meeting(target: Target, order: int, x: float, value: float) -> np.ndarray:
    """The interpolant at the zeros of T_K, plus the multiple of T_K that makes p(x) = value."""
    base = interpolation_coefficients(target.on(nodes(order))) if order else np.zeros(1)
    top = np.zeros(order + 1)
    top[order] = 1.0
    at_x = npcheb.chebval(x, top)
    if abs(at_x) < 1e-6:  # x is one of the zeros, where p interpolates
        return difference(base, 0 * top)
    return difference(base, -top * (value - npcheb.chebval(x, base)) / at_x)


def spectrum_error(cache: SpectralCache, target: Target, theta: np.ndarray, count: int) -> float:
    """Certificate on the spectrum itself where that is cheap to compute, else inf."""
    if target.spectrum is None:
        if cache.cheap_spectrum is None:
            return math.inf
        known = band_eigenvalues(cache, count, target.interval)
        if not known.eigenvalues.size:
            return 0.0  # every mode is filtered exactly
        target = make_target(target.response, target.interval, known)
    return spectral_error(target, theta)


def rounding(deflation: Deflation, target: Target, series: Series) -> float:
    """Bound what rounding adds to the error: in every term, and through λ in g and p."""
    affinity = deflation.affinity
    theta = series.coefficients
    lo, hi = series.interval
    size = float(np.abs(theta).sum()) * len(theta)
    slope = float(np.abs(npcheb.chebder(theta)).sum()) * 2 / (hi - lo) if len(theta) > 1 else 0.0
    growth = 8 * (4 + math.log2(affinity.n_nodes)) * deflation.amplification
    shift = affinity.eps * growth
    moved = 0.0
    if target.response is not None:
        # g is evaluated at single eigenvalues, which are known up to the shift only.
        lam = deflation.eigenvalues
        if target.spectrum is not None:
            lam = np.append(lam, target.spectrum)
        if lam.size:
            points = [lam, lam - shift, lam + shift]
            points[1:] = np.clip(points[1:], *affinity.limits)
            here, below, above = evaluate(target.response, np.concatenate(points)).reshape(3, -1)
            size += float(np.abs(here).max())
            moved = float(max(np.abs(below - here).max(), np.abs(above - here).max()))
    return shift * (size + slope) + moved
