"""A filter bank on one graph: all its filters together, exactly or by one recurrence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from gspnl._base.array import Array, constant, float64, like, namespace
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.recurrence import scaled
from gspnl.chebyshev.series import Family
from gspnl.filters.cache import Decompositions
from gspnl.filters.chebyshev import ChebyshevFilter, chebyshev_filter
from gspnl.filters.deflation import clenshaw, combine
from gspnl.filters.lowrank_engine import SmallCore, contract, exact_core, expand
from gspnl.responses.banks import FilterBank
from gspnl.responses.evaluate import evaluate, numbers


class BankOnGraph(Protocol):
    """Analysis (..., N, c) → (..., F, N, c), and its adjoint, on one graph."""

    def analysis(self, Z: Array) -> Array:
        """Every g_f(L) Z."""

    def synthesis(self, C: Array) -> Array:
        """The sum of g_f(L) C_f."""


@dataclass(frozen=True, eq=False)
class ChebyshevBank:
    r"""A frozen polynomial filter bank of one graph.

    Attributes
    ----------
    plans : tuple of ChebyshevFilter
        One a filter, each with its own order and certificate.
    """

    plans: tuple[ChebyshevFilter, ...]

    @property
    def order(self) -> int:
        """K, the largest order among the filters."""
        return max(plan.order for plan in self.plans)

    @property
    def error_bounds(self) -> np.ndarray:
        """Certificates of the filters, (F,), each relative to ‖T⁻¹ Z‖."""
        return np.array([plan.error_bound for plan in self.plans])

    @property
    def error_bound(self) -> float:
        r"""Certificate of the whole, :math:`\sqrt{\sum_f e_f^2}`.

        Of all coefficients together relative to ‖T⁻¹ Z‖, and of a synthesis relative to the norm
        ‖T⁻¹ C‖ of all coefficients.
        """
        return float(np.linalg.norm(self.error_bounds))

    def analysis(self, Z: Array) -> Array:
        """Every p_f(L) Z, (..., N, c) to (..., F, N, c), by one recurrence."""
        engine, affinity = self.plans[0]._engine, self.plans[0]._affinity
        if engine is None:
            return combine(scaled(self._family.interval, affinity.apply), self._family, Z)
        return engine.analysis(self._family, self._gains, self._alone, Z)

    def synthesis(self, C: Array) -> Array:
        """The sum of p_f(L) C_f, (..., F, N, c) to (..., N, c), by one recurrence."""
        engine, affinity = self.plans[0]._engine, self.plans[0]._affinity
        if engine is None:
            return clenshaw(scaled(self._family.interval, affinity.apply), self._family, C)
        return engine.synthesis(self._family, self._gains, self._alone, C)

    def __repr__(self) -> str:
        return (
            f"ChebyshevBank({len(self.plans)} filters of order ≤ {self.order}, "
            f"error ≤ {self.error_bound:.2g})"
        )

    @cached_property
    def _family(self) -> Family:
        return Family.of([plan.series for plan in self.plans])

    @cached_property
    def _gains(self) -> np.ndarray:
        return np.stack([plan._gains for plan in self.plans])

    @cached_property
    def _alone(self) -> np.ndarray:
        return np.array([plan._alone for plan in self.plans])


def chebyshev_bank(
    parts: Decompositions, bank: FilterBank, order: int | None = None, tol: float | None = None
) -> ChebyshevBank:
    """Plan every filter of a bank, all at one order, or each at the least that meets ``tol``."""
    return ChebyshevBank(tuple(chebyshev_filter(parts, g, order=order, tol=tol) for g in bank))


@dataclass(frozen=True, eq=False)
class ExactBank:
    """An exact filter bank of one graph: one Gram picture, or one Fourier transform, for all."""

    parts: Decompositions
    bank: FilterBank

    def analysis(self, Z: Array) -> Array:
        """Every g_f(L) Z."""
        weights = self.parts.affinity.weights
        if isinstance(weights, LowRank) and self._affinity.symmetric_core:
            small, heads = self.parts.small(weights, Z)
            core = self._cores(small)
            if core is not None:
                middle, alone = (like(v[:, None, None], Z) for v in self._constants)
                wide, heads = Z[..., None, :, :], heads[..., None, :, :]
                return expand(self._affinity, weights, middle, alone, core, wide, heads)
        spectrum = self.parts.spectrum
        gains = like(self._gains[:, :, None], Z)
        return spectrum.igft(gains * spectrum.gft(Z)[..., None, :, :])

    def synthesis(self, C: Array) -> Array:
        """The sum of g_f(L) C_f."""
        weights = self.parts.affinity.weights
        if isinstance(weights, LowRank) and self._affinity.symmetric_core:
            small, heads = self.parts.small(weights, C)
            core = self._cores(small)
            if core is not None:
                middle, alone = (like(v[:, None, None], C) for v in self._constants)
                return contract(self._affinity, weights, middle, alone, core, C, heads)
        spectrum = self.parts.spectrum
        gains = like(self._gains[:, :, None], C)
        return spectrum.igft(namespace(C).sum(gains * spectrum.gft(C), axis=-3))

    @property
    def _affinity(self) -> Affinity:
        return self.parts.affinity

    @property
    def _constants(self) -> np.ndarray:
        """g_f at λ = 1, where A vanishes, and at 0, for isolated nodes; (2, F)."""
        return _values(self.bank, np.array([1.0, 0.0])).T

    @property
    def _gains(self) -> np.ndarray:
        """g_f on every mode, (F, N)."""
        spectrum = self.parts.spectrum
        lam = constant(float64(spectrum.eigenvalues))
        return np.repeat(_values(self.bank, lam), spectrum.multiplicities, axis=1)

    def _cores(self, small: SmallCore) -> Array | None:
        """C of every filter, (F, m, m), or None where one is not smooth at λ = 1."""
        cores = []
        for g in self.bank:
            core = exact_core(small, g, self._affinity.limits)
            if core is None:
                return None
            cores.append(core)
        return namespace(cores[0]).stack(cores)


def _values(bank: FilterBank, lam: np.ndarray) -> np.ndarray:
    """The responses at λ, (F, m); where one is not finite, the error that says so."""
    values = numbers(bank(lam))
    for f in np.nonzero(~np.isfinite(values).all(axis=1))[0]:
        evaluate(bank[int(f)], lam)
    return values


def bank_on_graph(
    parts: Decompositions, bank: FilterBank, order: int | None, tol: float | None
) -> BankOnGraph:
    """A bank on one graph: exact, unless an order or a tolerance is given."""
    if order is None and tol is None:
        return ExactBank(parts, bank)
    return chebyshev_bank(parts, bank, order, tol)
