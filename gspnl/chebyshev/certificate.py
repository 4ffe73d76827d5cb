"""Certified bounds of the distance between a polynomial and a response."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev as npcheb
from scipy import fft

from gspnl.chebyshev.series import EPS, Series, interpolation_coefficients, nodes
from gspnl.chebyshev.target import Target

MAX_DEGREE = 1 << 14  # of an expansion; it resolves a g with poles 2e-3 away from [0, 2]


@dataclass(frozen=True, eq=False)
class Resolved:
    """A Chebyshev expansion that equals g to rounding, with a bound of its error."""

    coefficients: np.ndarray
    floor: float


def resolve(target: Target) -> Resolved | None:
    """Expand g to rounding, doubling the degree; return None where that does not converge.

    The expansion is also compared with g between its nodes, at the ends and at the target's probes,
    to detect a feature that lies between nodes.
    """
    if target.jumps:
        return None
    lo, hi = target.interval
    probe = np.concatenate([np.linspace(-1, 1, 1025), nodes(1500)])
    known = np.append(1.0 if target.probes is None else target.probes, 1.0)
    known = (2 * known - lo - hi) / (hi - lo)  # λ = 1 and the graph's own λ
    probe = np.append(probe, known[np.abs(known) <= 1])
    n = 32
    truth, values = np.split(target.on(np.append(probe, nodes(n))), [len(probe)])
    while n <= MAX_DEGREE:
        c = interpolation_coefficients(values)
        scale = float(max(np.abs(values).max(), np.abs(truth).max()))
        tiny = 32 * EPS * scale
        if np.abs(c[-n // 8 :]).max() <= tiny:
            keep = int(np.nonzero(np.abs(c) > EPS * scale)[0].max(initial=0)) + 1
            miss = np.abs(npcheb.chebval(probe, c[:keep]) - truth).max()
            if miss <= 8 * keep * tiny:
                return Resolved(c[:keep], 2 * float(miss) + tiny)
        n *= 2
        values = target.on(nodes(n))
    return None


def sup_bound(coefficients: np.ndarray) -> np.ndarray:
    r"""Certified :math:`\sup_{[-1,1]} |q|` of Chebyshev series q (..., D + 1), within 2 %.

    A polynomial of degree D is at most 1/cos(πD/2n) times its largest value at the n zeros of T_n
    (Ehlich and Zeller 1964); n = 8 (D + 1) makes that factor 1.02.
    """
    d = coefficients.shape[-1] - 1
    n = 8 * (d + 1)
    padded = np.zeros((*coefficients.shape[:-1], n))
    padded[..., : d + 1] = coefficients
    padded[..., 1:] /= 2
    sampled = np.asarray(fft.dct(padded, type=3))
    return np.asarray(np.abs(sampled).max(axis=-1) / math.cos(math.pi * d / (2 * n)))


def certify(theta: np.ndarray, resolved: Resolved | None) -> np.ndarray:
    """Return the certified sup|g − p| of series (..., K + 1); inf where g is not resolved."""
    if resolved is None:
        return np.full(theta.shape[:-1], math.inf)
    exact, k = resolved.coefficients, theta.shape[-1]
    gap = np.zeros((*theta.shape[:-1], max(len(exact), k)))
    gap[..., : len(exact)] = exact
    gap[..., :k] -= theta
    rounding = 8 * EPS * k * np.abs(theta).sum(axis=-1)
    return np.asarray(sup_bound(gap) + resolved.floor + rounding)


def spectral_error(target: Target, theta: np.ndarray) -> float:
    """Compute max |g − p| over the eigenvalues of the target, plus rounding."""
    assert target.spectrum is not None
    values = target.on_spectrum()
    gap = np.abs(Series(theta, target.interval)(target.spectrum) - values)
    return float(gap.max()) + 8 * EPS * len(theta) * float(np.abs(theta).sum())
