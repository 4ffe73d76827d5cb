r"""Faber series of a response on an ellipse, with the test that it is analytic there.

On the ellipse :math:`z = c + s(w + q/w)`, \|w\| ≤ 1 being its inside, the Faber polynomials are
:math:`F_0 = 1`, :math:`F_k = w^k + q^k w^{-k}`; on a disc, q = 0, the powers of (z − c)/s. An
analytic :math:`f = \sum c_k F_k` has the Fourier modes c_k and q^k c_k, k and −k, on its boundary,
and others do not.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate

EPS = float(np.finfo(np.float64).eps)
SAMPLES = 1 << 14  # most points on a boundary


@dataclass(frozen=True)
class Region:
    r"""An ellipse that bounds polynomials of C: ‖p(C)‖ ≤ constant · max \|p\|.

    Parameters
    ----------
    centre : float
        c.
    across, along : float
        Semi-axes in the real and in the imaginary direction.
    constant : float
        1 where the disc has the radius ‖C − c‖ (von Neumann 1951), 2 for a disc that contains the
        numerical range (Okubo, Ando 1975), 1 + √2 for an ellipse that does (Crouzeix, Palencia
        2017).
    """

    centre: float
    across: float
    along: float
    constant: float

    @property
    def scale(self) -> float:
        """The capacity s."""
        return (self.across + self.along) / 2

    @property
    def skew(self) -> float:
        """The parameter q: 0 for a disc, 1 for an interval."""
        return (self.across - self.along) / (self.across + self.along)

    def at(self, w: np.ndarray) -> np.ndarray:
        """Map w ≠ 0 to z."""
        return np.asarray(self.centre + self.scale * (w + self.skew / w))

    def inside(self) -> np.ndarray:
        """Return points of the region, some of them real."""
        radii = np.array([0.0, 0.31, 0.62, 0.87])[:, None]
        turns = np.exp(1j * np.linspace(0, 2 * math.pi, 24, endpoint=False))
        z = radii * turns
        return np.ravel(self.centre + self.across * z.real + 1j * self.along * z.imag)

    def __repr__(self) -> str:
        if self.along == self.across:
            return f"|z − {self.centre:.3g}| ≤ {self.across:.3g}, constant {self.constant:.3g}"
        return (
            f"ellipse around {self.centre:.3g} with semi-axes {self.across:.3g} and "
            f"{self.along:.3g}, constant {self.constant:.3g}"
        )


@dataclass(frozen=True, eq=False)
class Expansion:
    """A Faber series that equals f to rounding on a region.

    Attributes
    ----------
    region : Region
    coefficients : array of shape (K + 1,)
        c_k.
    floor : float
        Bound of the distance between f and the series on the region.
    size : float
        The largest |f| on the region, as sampled.
    """

    region: Region
    coefficients: np.ndarray
    floor: float
    size: float

    def tails(self) -> np.ndarray:
        r"""Bound :math:`\sup |f - p_K|` on the region for K = 0 … len − 1, (K,).

        By the sum of the coefficients; see :meth:`tail` for a sharper bound.
        """
        k = np.arange(len(self.coefficients))
        terms = np.abs(self.coefficients) * (1 + np.abs(self.region.skew) ** k)
        return np.append(np.cumsum(terms[::-1])[::-1][1:], 0.0) + self.floor

    def tail(self, order: int) -> float:
        r"""Bound :math:`\sup |f - p_K|` on the region for one K.

        A trigonometric polynomial of degree D is at most 1/cos(πD/n) times its largest value at n
        equidistant points (Ehlich, Zeller 1964).
        """
        c = self.coefficients.copy()
        degree = len(c) - 1
        if order >= degree:
            return self.floor
        c[: order + 1] = 0
        n = 16 * (degree + 1)
        modes = np.zeros(n, complex)
        modes[: degree + 1] = c
        k = np.arange(1, degree + 1)
        modes[-k] += self.region.skew**k * c[1:]
        values = np.abs(np.fft.ifft(modes) * n)
        return float(values.max()) / math.cos(math.pi * degree / n) + self.floor


def expand(response: Response, region: Region, at_one: float) -> Expansion | None:
    """Expand f(z) = g(1 − z) on a region; None where g is not analytic there, or not resolved.

    ``at_one`` is f(1) = g(0): what is small beside it counts as rounding.
    """
    probes = region.inside()
    inner = _evaluate(response, probes)
    real = np.linspace(-1, 1, 257) * region.across + region.centre
    truth = evaluate(response, 1 - real)
    n = 64
    while n <= SAMPLES and inner is not None:
        values = _evaluate(response, region.at(np.exp(2j * math.pi * np.arange(n) / n)))
        if values is None:
            return None
        modes = np.fft.fft(values) / n
        half = n // 2
        size = float(np.abs(values).max())
        scale = max(size, abs(at_one), float(np.abs(inner).max()))
        tiny = 32 * EPS * scale
        k = np.arange(1, half)
        c = np.append(modes[0], modes[1:half])
        folded = modes[-k] - region.skew**k * modes[1:half]
        if np.abs(c[-half // 4 :]).max() <= tiny and np.abs(folded[-half // 4 :]).max() <= tiny:
            strange = max(float(np.abs(folded).max()), float(np.abs(c.imag).max()))
            if strange > 8 * tiny:
                return None  # poles inside, or no function of z
            keep = int(np.nonzero(np.abs(c) > EPS * scale)[0].max(initial=0)) + 1
            found = c[:keep].real
            points = np.concatenate([probes, real.astype(complex)])
            gap = evaluate_series(found, region, points) - np.concatenate([inner, truth])
            miss = float(np.abs(gap).max())
            if miss <= 8 * keep * tiny:
                left = float(np.abs(c[keep:]).sum() + np.abs(folded).sum() + np.abs(c.imag).sum())
                floor = min(2 * miss + tiny + left, 16 * keep * tiny)
                return Expansion(region, found, floor, size)
        n *= 2
    return None


def evaluate_series(c: np.ndarray, region: Region, z: np.ndarray) -> np.ndarray:
    """Evaluate the sum of c_k F_k at points z of the region."""
    x = (z - region.centre) / region.scale
    old, new = np.ones_like(x), x
    total = c[0] * old
    for k in range(1, len(c)):
        total = total + c[k] * new
        old, new = new, x * new - region.skew * (2 * old if k == 1 else old)
    return np.asarray(total)


def _evaluate(response: Response, z: np.ndarray) -> np.ndarray | None:
    """Return g(1 − z) at complex z; None where g takes real λ only, or is not finite."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a cast to real λ, which the test of modes finds
            values = np.asarray(response(1 - z), dtype=np.complex128)
    except Exception:
        return None
    if values.shape == ():
        values = np.full(z.shape, values)
    return values if values.shape == z.shape and np.isfinite(values).all() else None
