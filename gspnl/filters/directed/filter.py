"""Filter signals by a polynomial of a directed A, with an error bound in the stationary norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, float64, is_numpy, like, namespace
from gspnl._base.effort import counted, work
from gspnl._base.validate import on_signals
from gspnl.affinity.affinity import Affinity
from gspnl.chebyshev.series import Series, interpolation_coefficients, nodes
from gspnl.filters.directed.expansions import Region, evaluate_series


@dataclass(frozen=True, eq=False)
class DirectedFilter:
    r"""A polynomial filter of one directed graph, planned once and applied to any signals.

    .. math:: F Z = g(0)\,1π^T Z + \sum_{k \le K} c_k F_k(A)\,(Z - 1π^T Z)

    The constant mode is filtered exactly. F_k are the Faber polynomials of :attr:`region`: powers
    of (A − c)/s on a disc, Chebyshev polynomials on a flat ellipse, up to their scale.

    Attributes
    ----------
    coefficients : array of shape (K + 1,)
        c_k.
    region : Region
        The disc or ellipse on which g(1 − z) is approximated.
    error_bound : float
        Certified bound of ‖(g(L) − F) Z‖_π / ‖Z‖_π, rounding included, with
        :math:`\|Z\|_π^2 = \sum_i π_i |z_i|^2`, see :meth:`FeatureGraph.norm`.
    gain : float
        g(0).
    stationary : array of shape (N,)
        π.
    affinity : Affinity
    """

    coefficients: np.ndarray
    region: Region
    error_bound: float
    gain: float
    stationary: Array
    affinity: Affinity

    @property
    def order(self) -> int:
        """K."""
        return len(self.coefficients) - 1

    @property
    def series(self) -> Series:
        """The polynomial over the real λ of the region, by its Chebyshev coefficients."""
        middle, half = 1 - self.region.centre, self.region.across
        z = self.region.centre - half * nodes(self.order + 1)
        values = evaluate_series(self.coefficients, self.region, z)
        return Series(interpolation_coefficients(values), (middle - half, middle + half))

    @property
    def deflated(self) -> np.ndarray:
        """λ of the mode that is filtered exactly: 0."""
        return np.zeros(1)

    @property
    def gains(self) -> np.ndarray:
        """The response at :attr:`deflated`."""
        return np.array([self.gain])

    def __call__(self, Z: Array) -> Array:
        """Filter Z (..., N, c), or (N,)."""
        return on_signals(self.apply, Z, self.affinity.weights.shape, self.affinity.left)

    def apply(self, Z: Array) -> Array:
        """Filter signals (..., N, c) that have been checked."""
        order, n = self.order, self.affinity.n_nodes
        cost = order * self.affinity.weights.operations(Z.size // n) if is_numpy(Z) else 0.0
        what = f"a filter of order {order} on {n:,} nodes"
        with work(what, cost, order, "lower the order or the columns") as shown:
            return self._apply(Z, counted(self.affinity.apply, shown))

    def _apply(self, Z: Array, product: Callable[[Array], Array]) -> Array:
        c, s, skew = self.region.centre, self.region.scale, self.region.skew
        mean = self._mean(Z)
        old = Z - mean
        total = float(self.coefficients[0]) * old
        new = old
        for k in range(1, len(self.coefficients)):
            step = (product(new) - c * new) / s
            if k > 1:
                step = step - (skew * (2 if k == 2 else 1)) * old
            # Rounding along the constant mode would grow where other modes shrink.
            step = step - self._mean(step)
            old, new = new, step
            total = total + float(self.coefficients[k]) * new
        return self.gain * mean + total

    def _mean(self, Z: Array) -> Array:
        """Compute 1πᵀZ."""
        xp = namespace(Z)
        weight = float64(self.stationary)[:, None]
        mean = xp.sum(weight * float64(Z), axis=-2, keepdims=True)
        return like(mean, Z) + 0 * Z

    def __repr__(self) -> str:
        return (
            f"DirectedFilter(order {self.order} on {self.region}, constant mode exact, "
            f"error ≤ {self.error_bound:.2g} in the stationary norm)"
        )
