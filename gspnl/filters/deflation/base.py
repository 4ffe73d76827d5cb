"""Interface of a deflated graph: filters, band of λ and spectral density."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from gspnl._base.array import Array
from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.series import Family, Series

PAD = 0.01  # share of its width by which the band is widened on either side


class Deflation(ABC):
    """One symmetric graph, split into deflated modes and a band.

    Attributes
    ----------
    affinity : Affinity
    eigenvalues : array of shape (m,)
        λ of the deflated modes.
    """

    affinity: Affinity
    eigenvalues: np.ndarray

    @property
    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """The least and the largest λ of the band, as computed."""

    @property
    @abstractmethod
    def density(self) -> tuple[np.ndarray, np.ndarray]:
        """λ of the band and their shares: exact for low rank, else a Gauss quadrature."""

    @property
    def has_band(self) -> bool:
        """Whether the ends of the band are known, or cost nothing."""
        return True

    @property
    def inner_ends(self) -> tuple[float, float]:
        """Two λ within the band, near its ends, which the interval of a series must contain."""
        return self.ends

    @property
    def amplification(self) -> float:
        """Factor by which the summands of S, and so their rounding errors, exceed S."""
        return 1.0

    @abstractmethod
    def analysis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, Z: Array
    ) -> Array:
        """Compute p_f(L) Z for every f, (..., N, c) to (..., F, N, c).

        Deflated mode i is filtered by ``gains[f, i]``, isolated nodes by ``isolated_gain[f]``.
        """

    @abstractmethod
    def synthesis(
        self, family: Family, gains: np.ndarray, isolated_gain: np.ndarray, C: Array
    ) -> Array:
        """Compute the sum of p_f(L) C_f, (..., F, N, c) to (..., N, c)."""

    def polynomial(
        self, series: Series, gains: np.ndarray, isolated_gain: float, Z: Array
    ) -> Array:
        """Compute p(L) Z: :meth:`analysis` by a single series."""
        family = Family(series.coefficients[None], series.interval)
        out = self.analysis(family, gains[None], np.array([isolated_gain]), Z)
        return out[..., 0, :, :]

    @property
    def interval(self) -> tuple[float, float]:
        """Outer bounds of every λ of the band, within [0, 2] for non-negative weights."""
        low, high = self.ends
        pad = PAD * (high - low) + max(1e-6, 64 * self.affinity.eps)
        least, most = self.affinity.limits
        return max(low - pad, least), min(high + pad, most)
