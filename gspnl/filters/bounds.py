"""How far a filter may be from the exact one: on the interval, on the spectrum, by rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev as npcheb

from gspnl._array import constant, eps, float64
from gspnl.affinity import Affinity
from gspnl.chebyshev.certificate import spectral_error
from gspnl.chebyshev.series import Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target, evaluate, make_target
from gspnl.decompositions import Decompositions
from gspnl.deflation import Deflated

WHOLE = (0.0, 2.0)


@dataclass(frozen=True)
class Distribution:
    """Eigenvalues and their multiplicities, without vectors."""

    eigenvalues: np.ndarray
    multiplicities: np.ndarray


def rest(parts: Decompositions, count: int) -> Distribution:
    """Eigenvalues and multiplicities without isolated nodes and the ``count`` lowest modes."""
    spectrum = parts.spectrum
    isolated = parts.affinity.isolated
    drop = count + (int(constant(isolated).sum()) if count and isolated is not None else 0)
    left = np.maximum(np.cumsum(spectrum.multiplicities) - drop, 0)
    left = np.minimum(left, spectrum.multiplicities)
    keep = left > 0
    return Distribution(constant(float64(spectrum.eigenvalues))[keep], left[keep])


def better_on_average(target: Target, theta: np.ndarray, engine: Deflated) -> np.ndarray:
    """The band's interpolant, unless that of [0, 2] does about as well over the graph's density.

    The sup norm over the band says little of a bulk of modes at λ = 1, where the other interpolant
    may happen to have a node. Asking for a factor of 2 makes deflation never worse than the plain
    interval: the same polynomial with the constant mode made exact cannot be.
    """
    whole = Target(target.response, WHOLE)
    k = len(theta)
    plain = Series(interpolation_coefficients(whole.on(nodes(k))), WHOLE)
    lo, hi = target.interval
    other = interpolation_coefficients(plain((lo + hi) / 2 + (hi - lo) / 2 * nodes(k)))
    lam, shares = engine.density
    truth = evaluate(target.response, lam) if target.response else lam

    def mean_error(candidate: np.ndarray) -> float:
        return float(shares @ (Series(candidate, target.interval)(lam) - truth) ** 2)

    return theta if 4 * mean_error(theta) <= mean_error(other) else other


def on_spectrum(parts: Decompositions, target: Target, theta: np.ndarray, count: int) -> float:
    """Certificate on the spectrum itself where that is known, else inf."""
    if target.spectrum is None:
        if parts.known_spectrum is None:
            return math.inf
        target = make_target(target.response, target.interval, rest(parts, count))
    return spectral_error(target, theta)


def rounding(affinity: Affinity, engine: Deflated, series: Series, g: Any) -> float:
    """What rounding adds to the error: to every term, and through λ itself to g and p."""
    theta = series.coefficients
    lo, hi = series.interval
    size = float(np.abs(theta).sum()) * len(theta)
    slope = float(np.abs(npcheb.chebder(theta)).sum()) * 2 / (hi - lo) if len(theta) > 1 else 0.0
    if callable(g) and engine.eigenvalues.size:
        here, near = (np.abs(evaluate(g, engine.eigenvalues + h)) for h in (0.0, 1e-4))
        size += float(here.max())
        slope += float(np.abs(here - near).max()) / 1e-4
    growth = (8 + math.log2(affinity.n_nodes)) * engine.amplification
    return eps(affinity.left) * growth * (size + slope)
