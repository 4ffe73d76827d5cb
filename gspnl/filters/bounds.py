"""Error bounds of Chebyshev filters, and the interpolant of least error on a graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._base.array import constant, float64, to_numpy
from gspnl.chebyshev.certificate import Resolved, certify, resolve, spectral_error, sup_bound
from gspnl.chebyshev.series import Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target, make_target
from gspnl.filters.cache import SpectralCache
from gspnl.filters.deflation import Deflation
from gspnl.responses import Response
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
    """Return λ/s and multiplicities without isolated nodes and the ``count`` modes of least λ."""
    spectrum = cache.spectrum
    isolated = cache.affinity.isolated
    drop = count + (int(constant(isolated).sum()) if count and isolated is not None else 0)
    left = np.maximum(np.cumsum(spectrum.multiplicities) - drop, 0)
    left = np.minimum(left, spectrum.multiplicities)
    keep = left > 0
    lam = to_numpy(float64(spectrum.relative))[keep]
    return Distribution(np.clip(lam, *interval), left[keep])


def balanced(
    target: Target, theta: np.ndarray, deflation: Deflation, resolved: Resolved | None
) -> np.ndarray:
    """Choose among three interpolants the one of least error on the whole graph.

    ``theta`` interpolates on the band. The second interpolant also equals the response at the λ
    that most modes share, often 1; the third one interpolates on [0, 2]. The score is the root
    mean square error over the graph's spectral density plus a tenth of the largest error on the
    band. The first term makes deflation no worse than the interval [0, 2] on a random signal; the
    second one accounts for the other modes, in which real signals have their energy.
    """
    lo, hi = target.interval
    middle, half = (lo + hi) / 2, (hi - lo) / 2
    lam, shares = deflation.density
    bulk = int(np.argmax(shares))
    zeros, fewer = nodes(len(theta)), nodes(len(theta) - 1) if len(theta) > 1 else np.zeros(0)
    points = np.concatenate([lam, 1 + zeros, middle + half * fewer])
    truth, plain, band = np.split(target.at(points), [len(lam), len(lam) + len(zeros)])
    x = (lam - middle) / half
    on_full = npcheb.chebval(middle + half * zeros - 1, interpolation_coefficients(plain))
    candidates = np.stack([
        theta,
        _through(band, float(x[bulk]), float(truth[bulk])),
        interpolation_coefficients(on_full),
    ])  # fmt: skip
    errors = np.abs(npcheb.chebval(x, candidates.T) - truth)
    worst = errors.max(axis=1) if resolved is None else certify(candidates, resolved)
    best = int(np.argmin(np.sqrt(errors**2 @ shares) + 0.1 * worst))
    return np.asarray(candidates[best])


def _through(values: np.ndarray, x: float, value: float) -> np.ndarray:
    """Interpolate values at the zeros of T_K, and add the multiple of T_K with p(x) = value."""
    k = len(values)
    base = np.append(interpolation_coefficients(values) if k else np.zeros(0), 0.0)
    top = np.zeros(k + 1)
    top[k] = 1.0
    at_x = npcheb.chebval(x, top)
    if abs(at_x) >= 1e-6:  # else x is one of the zeros, where p interpolates
        base[k] = (value - npcheb.chebval(x, base)) / at_x
    return base


def spectrum_error(cache: SpectralCache, target: Target, theta: np.ndarray, count: int) -> float:
    """Return the certificate on the spectrum itself where that is cheap to compute, else inf."""
    if target.spectrum is None:
        if cache.cheap_spectrum is None:
            return math.inf
        known = band_eigenvalues(cache, count, target.interval)
        if not known.eigenvalues.size:
            return 0.0  # every mode is filtered exactly
        target = make_target(target.response, target.interval, known)
    return spectral_error(target, theta)


def approximation_error(deflation: Deflation, response: Response) -> float:
    r"""Bound ‖T̂⁻¹(g(L) − g(L̂))T̂‖ for L̂ of an approximate graph, and L of the kernel's.

    With R = T̂⁻¹ T it is ‖R g(S) R⁻¹ − g(Ŝ)‖, at most ‖g(S) − g(Ŝ)‖ + ω ρ/(1 − ρ) where
    ‖R − I‖ ≤ ρ and ω is the oscillation of g, its largest less its least value. The first term is
    at most the Lipschitz constant of g times ‖S − Ŝ‖_F, and at most ω. inf where no series of
    moderate length resolves g.
    """
    affinity = deflation.affinity
    assert affinity.errors is not None
    bound, change = (float(e) for e in affinity.errors)
    lo, hi = FULL
    if not affinity.nonnegative:  # λ̂ may lie outside [0, 2], but by no more than the bound
        lo, hi = min(lo, max(deflation.ends[0], -bound)), max(hi, min(deflation.ends[1], 2 + bound))
    target = make_target(response, (lo, hi), None)
    if deflation.has_band:  # as for the series: the response is also sampled where λ are
        target = replace(target, probes=deflation.density[0])
    found = resolve(target)
    if found is None:
        return math.inf  # neither its slope nor its oscillation is known
    c = found.coefficients.copy()
    slope = float(sup_bound(npcheb.chebder(c))) * 2 / (hi - lo) if len(c) > 1 else 0.0
    ends = npcheb.chebval(np.cos(np.linspace(0, math.pi, 8 * len(c) + 1)), c)
    c[0] -= (ends.max() + ends.min()) / 2
    swing = 2 * (float(sup_bound(c)) + found.floor)
    turned = swing * change / (1 - change) if change < 1 else math.inf
    return min(slope * bound, swing) + turned


def rounding(deflation: Deflation, target: Target, series: Series) -> float:
    """Bound the rounding error: of the terms of p, and of g and p at λ known to rounding only."""
    affinity = deflation.affinity
    theta = series.coefficients
    lo, hi = series.interval
    size = float(np.abs(theta).sum()) * len(theta)
    slope = float(np.abs(npcheb.chebder(theta)).sum()) * 2 / (hi - lo) if len(theta) > 1 else 0.0
    growth = 8 * (4 + math.log2(affinity.n_nodes)) * deflation.amplification
    shift = affinity.eps * growth
    moved = 0.0
    if target.response is not None:
        # g is evaluated at eigenvalues whose rounding error is up to ``shift``.
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
