"""How far a filter may be from the exact one: on the interval, on the spectrum, by rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._base.array import constant, eps, float64, to_numpy
from gspnl.chebyshev.certificate import Resolved, certify, difference, spectral_error
from gspnl.chebyshev.series import Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target, make_target
from gspnl.filters.cache import Decompositions
from gspnl.filters.deflation import Deflated

WHOLE = (0.0, 2.0)


@dataclass(frozen=True)
class Distribution:
    """Eigenvalues and their multiplicities, without vectors."""

    eigenvalues: np.ndarray
    multiplicities: np.ndarray


def rest(parts: Decompositions, count: int, span: tuple[float, float]) -> Distribution:
    """Eigenvalues and multiplicities without isolated nodes and the ``count`` lowest modes."""
    spectrum = parts.spectrum
    isolated = parts.affinity.isolated
    drop = count + (int(constant(isolated).sum()) if count and isolated is not None else 0)
    left = np.maximum(np.cumsum(spectrum.multiplicities) - drop, 0)
    left = np.minimum(left, spectrum.multiplicities)
    keep = left > 0
    lam = to_numpy(float64(spectrum.eigenvalues))[keep]
    return Distribution(np.clip(lam, *span), left[keep])


def balanced(
    target: Target, theta: np.ndarray, engine: Deflated, resolved: Resolved | None
) -> np.ndarray:
    """Of three interpolants, the one that errs least on the whole graph.

    The band's own, ``theta``, knows nothing of the bulk of modes that a graph has at one λ, mostly
    at 1. The others are one that meets the response there, and that of [0, 2]. The score is the
    root mean square error over the graph's density plus a tenth of the largest error on the band:
    the first makes deflation no worse than the plain interval on a random signal; the second keeps
    in view the modes outside the bulk, in which real signals live.
    """
    lo, hi = target.interval
    lam, shares = engine.density
    truth = target.at(lam)
    bulk = int(np.argmax(shares))
    whole = Target(target.response, WHOLE)
    plain = Series(interpolation_coefficients(whole.on(nodes(len(theta)))), WHOLE)
    candidates = [
        theta,
        _meeting(target, len(theta) - 1, (2 * lam[bulk] - lo - hi) / (hi - lo), truth[bulk]),
        interpolation_coefficients(plain((lo + hi) / 2 + (hi - lo) / 2 * nodes(len(theta)))),
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
    if abs(at_x) < 1e-6:  # x is one of the zeros: met already
        return difference(base, 0 * top)
    return difference(base, -top * (value - npcheb.chebval(x, base)) / at_x)


def on_spectrum(parts: Decompositions, target: Target, theta: np.ndarray, count: int) -> float:
    """Certificate on the spectrum itself where that is known, else inf."""
    if target.spectrum is None:
        if parts.known_spectrum is None:
            return math.inf
        known = rest(parts, count, target.interval)
        if not known.eigenvalues.size:
            return 0.0  # every mode is filtered exactly
        target = make_target(target.response, target.interval, known)
    return spectral_error(target, theta)


def rounding(parts: Decompositions, engine: Deflated, target: Target, series: Series) -> float:
    """What rounding adds to the error: to every term, and through λ itself to g and p."""
    theta = series.coefficients
    lo, hi = series.interval
    size = float(np.abs(theta).sum()) * len(theta)
    slope = float(np.abs(npcheb.chebder(theta)).sum()) * 2 / (hi - lo) if len(theta) > 1 else 0.0
    growth = 8 * (4 + math.log2(parts.affinity.n_nodes)) * engine.amplification
    shift = eps(parts.affinity.left) * growth
    moved = 0.0
    if target.response is not None:
        # g itself, where it was taken at single eigenvalues: known only up to the shift.
        taken = engine.eigenvalues if target.spectrum is None else np.append(
            engine.eigenvalues, target.spectrum
        )  # fmt: skip
        if taken.size:
            limits = parts.affinity.limits
            here = target.at(taken)
            size += float(np.abs(here).max())
            jumps = [target.at(np.clip(taken + h, *limits)) - here for h in (-shift, shift)]
            moved = float(np.abs(jumps).max())
    return shift * (size + slope) + moved
