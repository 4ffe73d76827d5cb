"""Filter banks on one graph: all filters together, exactly or by one Chebyshev recurrence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from gspnl._base.array import Array, constant, float64, like
from gspnl._base.blas import on_one_thread
from gspnl.chebyshev.families import clenshaw, combine
from gspnl.chebyshev.recurrence import scaled
from gspnl.chebyshev.series import Family
from gspnl.filters.cache import SpectralCache
from gspnl.filters.chebyshev import ChebyshevFilter, chebyshev_filter
from gspnl.filters.exact import differentiable, needs_series
from gspnl.filters.lowrank_engine import LowRankEngine
from gspnl.filters.relative import relative_bank, relative_series
from gspnl.responses.banks import FilterBank
from gspnl.responses.evaluate import evaluate, numbers


class BankOnGraph(Protocol):
    """Analysis (..., N, c) → (..., F, N, c), and its adjoint, on one graph."""

    def analysis(self, Z: Array) -> Array:
        """Compute g_f(L) Z for every f."""

    def synthesis(self, C: Array) -> Array:
        """Compute the sum of g_f(L) C_f."""


@dataclass(frozen=True, eq=False)
class ChebyshevBank:
    r"""A polynomial filter bank of one graph, planned once.

    Attributes
    ----------
    plans : tuple of ChebyshevFilter
        One for each filter, with its own order and certificate.
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
        r"""Certificate of the bank, :math:`\sqrt{\sum_f e_f^2}`.

        It bounds the error of all coefficients together relative to ‖T⁻¹ Z‖, and that of a
        synthesis relative to the norm ‖T⁻¹ C‖ of all coefficients.
        """
        return float(np.linalg.norm(self.error_bounds))

    def analysis(self, Z: Array) -> Array:
        """Compute p_f(L) Z for every f, (..., N, c) to (..., F, N, c), by one recurrence."""
        deflation, affinity = self.plans[0].deflation, self.plans[0].affinity
        if deflation is None:
            return combine(scaled(self._family.interval, affinity.apply), self._family, Z)
        return deflation.analysis(self._family, self._gains, self._isolated_gains, Z)

    def synthesis(self, C: Array) -> Array:
        """Compute the sum of p_f(L) C_f, (..., F, N, c) to (..., N, c), by one recurrence."""
        deflation, affinity = self.plans[0].deflation, self.plans[0].affinity
        if deflation is None:
            return clenshaw(scaled(self._family.interval, affinity.apply), self._family, C)
        return deflation.synthesis(self._family, self._gains, self._isolated_gains, C)

    def __repr__(self) -> str:
        return (
            f"ChebyshevBank({len(self.plans)} filters of order ≤ {self.order}, "
            f"error ≤ {self.error_bound:.2g})"
        )

    @cached_property
    def _family(self) -> Family:
        affinity = self.plans[0].affinity
        return Family.of([relative_series(affinity, plan.series) for plan in self.plans])

    @cached_property
    def _gains(self) -> np.ndarray:
        return np.stack([plan.gains for plan in self.plans])

    @cached_property
    def _isolated_gains(self) -> np.ndarray:
        return np.array([plan.isolated_gain for plan in self.plans])


@on_one_thread
def chebyshev_bank(
    cache: SpectralCache, bank: FilterBank, order: int | None = None, tol: float | None = None
) -> ChebyshevBank:
    """Plan every filter of a bank: all of one order, or each of the least that meets ``tol``."""
    plan: Any = partial(chebyshev_filter, cache, order=order, tol=tol, shared=True)
    return ChebyshevBank(tuple(plan(g) for g in bank))


@dataclass(frozen=True, eq=False)
class ExactBank:
    """An exact filter bank of one graph: one Gram matrix or Fourier transform for all filters.

    Parameters
    ----------
    cache : SpectralCache
    bank : FilterBank
        Of responses over λ/s.
    """

    cache: SpectralCache
    bank: FilterBank

    def analysis(self, Z: Array) -> Array:
        """Compute g_f(L) Z for every f."""
        if needs_series(self.cache):
            parts = [differentiable(self.cache, g, Z) for g in self.bank]
            return self.cache.affinity.xp.stack(parts, axis=-3)
        lowrank = self._lowrank(Z)
        if lowrank is not None:
            engine, heads, core = lowrank
            null_gain, isolated_gain = (like(v[:, None, None], Z) for v in self._constants)
            wide = Z[..., None, :, :], heads[..., None, :, :]
            return engine.expand(null_gain, isolated_gain, core, *wide)
        spectrum = self.cache.spectrum
        gains = like(self._gains[:, :, None], Z)
        return spectrum.inverse(gains * spectrum.transform(Z)[..., None, :, :])

    def synthesis(self, C: Array) -> Array:
        """Compute the sum of g_f(L) C_f."""
        if needs_series(self.cache):
            xp = self.cache.affinity.xp
            parts = [
                differentiable(self.cache, g, C[..., f, :, :]) for f, g in enumerate(self.bank)
            ]
            return xp.sum(xp.stack(parts), axis=0)
        lowrank = self._lowrank(C)
        if lowrank is not None:
            engine, heads, core = lowrank
            null_gain, isolated_gain = (like(v[:, None, None], C) for v in self._constants)
            return engine.contract(null_gain, isolated_gain, core, C, heads)
        spectrum = self.cache.spectrum
        gains = like(self._gains[:, :, None], C)
        return spectrum.inverse(self.cache.affinity.xp.sum(gains * spectrum.transform(C), axis=-3))

    def _lowrank(self, Z: Array) -> tuple[LowRankEngine, Array, Array] | None:
        """Return the engine, Bᵀ diag(r) Z and C of every filter, (F, m, m).

        None for weights that are not of low rank, or a response that is not smooth at λ = 1.
        """
        found = self.cache.lowrank_engine(Z)
        if found is None:
            return None
        engine, heads = found
        cores = []
        for g in self.bank:
            core = engine.exact_core(g)
            if core is None:
                return None
            cores.append(core)
        return engine, heads, self.cache.affinity.xp.stack(cores)

    @property
    def _constants(self) -> np.ndarray:
        """g_f at λ = 1, where A vanishes, and at 0, for isolated nodes; (2, F)."""
        return _values(self.bank, np.array([1.0, 0.0])).T

    @property
    def _gains(self) -> np.ndarray:
        """g_f on every mode, (F, N)."""
        spectrum = self.cache.spectrum
        lam = constant(float64(spectrum.relative))
        return np.repeat(_values(self.bank, lam), spectrum.multiplicities, axis=1)


def _values(bank: FilterBank, lam: np.ndarray) -> np.ndarray:
    """The responses at λ, (F, m); raises where one is not finite."""
    values = numbers(bank(lam))
    for f in np.nonzero(~np.isfinite(values).all(axis=1))[0]:
        evaluate(bank[int(f)], lam)
    return values


@on_one_thread
def bank_on_graph(
    cache: SpectralCache, bank: FilterBank, order: int | None, tol: float | None
) -> BankOnGraph:
    """Return a bank on one graph, exact unless an order or a tolerance is given."""
    if order is None and tol is None:
        return ExactBank(cache, relative_bank(cache.affinity, bank))
    return chebyshev_bank(cache, bank, order, tol)
