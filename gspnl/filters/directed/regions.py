"""Regions of the complex plane that bound polynomials of a directed A, with their constants."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from gspnl._base.array import Array, constant64
from gspnl._base.blas import on_one_thread
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.stationary import stationary_of
from gspnl.affinity.weights import LowRank
from gspnl.errors import ConvergenceError, NonsymmetricError, ReducibleError
from gspnl.filters.directed.core import Core, Part, drift, positive_core
from gspnl.filters.directed.expansions import Region
from gspnl.filters.directed.graphs import products_of
from gspnl.filters.directed.krylov import leading
from gspnl.filters.directed.numerical_range import NumericalRange, numerical_range
from gspnl.filters.directed.spectrum import DENSE

CROUZEIX = 1 + math.sqrt(2)
LEAST = 1e-4  # semi-axis of a region, so that A − c over it keeps its digits
NEAR = 1e-2  # 1 − σ₂ below which the numerical range tells how far 1 is
EPS = float(np.finfo(np.float64).eps)
WIDER = 1e-9  # of computed radii, above their rounding


class DirectedGraph:
    """What filters of one directed graph need: π, norms and the numerical range, kept.

    Parameters
    ----------
    affinity : Affinity

    Raises
    ------
    NonsymmetricError
        By all attributes, where π has zeros or is not unique.
    """

    def __init__(self, affinity: Affinity) -> None:
        self.affinity = affinity

    @cached_property
    def stationary(self) -> Array:
        """π, in the library of the graph, with its gradient."""
        try:
            return stationary_of(self.affinity)
        except (ReducibleError, ConvergenceError) as error:
            raise NonsymmetricError(f"no stationary norm: {error}") from error

    @cached_property
    def core(self) -> Core:
        """C by products."""
        pi = constant64(self.stationary)
        found = positive_core(products_of(self.affinity), pi)
        if isinstance(found, str):
            raise NonsymmetricError(f"no stationary norm: {found}")
        return found

    @cached_property
    def part(self) -> Part:
        """C, stored where the graph is small."""
        return self.core.stored() if self.core.n <= DENSE else self.core

    @cached_property
    @on_one_thread
    def sigma(self) -> float:
        """σ₂, an upper bound."""
        return self._norm(0.0)

    def _norm(self, centre: float) -> float:
        """Bound ‖C − c‖ on the complement of √π."""
        part = self.part
        if self.core.n <= DENSE:
            root = part.root
            shifted = part.apply(np.eye(part.n)) - centre * (np.eye(part.n) - root @ root.T)
            found = float(np.linalg.svd(shifted, compute_uv=False)[0])
            return found * (1 + WIDER) + 64 * self.affinity.eps

        def square(Z: np.ndarray) -> np.ndarray:
            Y = part.apply(Z) - centre * Z
            return part.transpose(Y) - centre * Y

        run = leading(square, part.n, 1, known=part.root, tol=1e-8, seed=0)
        top = float(run.eigenvalues.real[0]) + run.residual
        return math.sqrt(max(top, 0.0)) * (1 + WIDER) + 64 * self.affinity.eps

    @cached_property
    @on_one_thread
    def range(self) -> NumericalRange:
        """Numerical range of C."""
        return numerical_range(self.part, np.zeros((self.core.n, 0)))

    @property
    def disc(self) -> Region:
        """The disc of radius σ₂ about 0, with constant 1."""
        radius = max(self.sigma, LEAST)
        return Region(0.0, radius, radius, 1.0)

    @cached_property
    def sharper(self) -> list[Region]:
        """Discs about the centre of the numerical range, and the ellipse around it."""
        corners = self._corners()
        centre = float((corners.real.max() + corners.real.min()) / 2)
        norm = max(self._norm(centre), LEAST)
        found = [Region(centre, norm, norm, 1.0)]
        for middle in (0.0, centre):
            radius = max(float(np.abs(corners - middle).max()), LEAST)
            found.append(Region(middle, radius, radius, 2.0))
        across = max(float((corners.real.max() - corners.real.min()) / 2), LEAST)
        along = max(float(corners.imag.max()), LEAST, 1e-3 * across)
        reach = np.hypot((corners.real - centre) / across, corners.imag / along)
        grown = max(1.0, float(reach.max()))
        found.append(Region(centre, grown * across, grown * along, CROUZEIX))
        return found

    def _corners(self) -> np.ndarray:
        """Corners of the polygon of tangents that contains the numerical range."""
        known = self.range
        angles = known.angles
        h = known.support + known.residual + 64 * self.affinity.eps
        step = angles[1] - angles[0]
        # Tangents of angles θ and θ + δ meet at e^{iθ}(h + i(h' − h cos δ)/sin δ).
        along = (h[1:] - h[:-1] * math.cos(step)) / math.sin(step)
        return np.asarray(np.exp(1j * angles[:-1]) * (h[:-1] + 1j * along))

    @property
    def mixing(self) -> float:
        """A lower bound of 1/‖(1 − C)⁻¹‖: the distance of 1 from the numerical range of C."""
        near = 1 - self.sigma
        if near < NEAR:
            near = max(near, 1 - float(self.range.support[0]) - self.range.residual)
        return max(near, EPS)

    @cached_property
    def rounding(self) -> float:
        """Relative rounding of one product in the stationary norm, with that of π."""
        core = self.core
        off = float(np.linalg.norm(drift(core.products, core.pi) / core.root[:, 0]))
        growth = 8 * (4 + math.log2(core.n)) * self._amplification()
        return self.affinity.eps * growth + off

    def _amplification(self) -> float:
        """Factor by which the summands of a row of A exceed the row."""
        weights = self.affinity.weights
        if not isinstance(weights, LowRank):
            return 1.0
        B, J = np.abs(constant64(weights.factor)), np.abs(constant64(weights.core))
        return max(1.0, float((constant64(self.affinity.left) * (B @ (J @ B.sum(0)))).max()))
