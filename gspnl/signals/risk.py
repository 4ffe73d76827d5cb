r"""Estimate the risk of polynomial filters by Monte Carlo, through the graph where it depends on Z.

For noise of standard deviation σ, Stein's unbiased estimate of the squared error of a smoother F is

.. math:: \|Z - F(Z)\|^2 + 2σ^2\, \mathrm{div} F(Z) - N c σ^2, \qquad
   \mathrm{div} F(Z) = \mathrm{E}_b ⟨b, F(Z + εb) - F(Z)⟩ / ε.

The divergence is estimated from random b (Ramani, Blu and Unser 2008). Where the graph was built
from Z itself, F builds it again from Z + εb.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    constant64,
    detached,
    eps,
    largest_entry,
    like,
    namespace,
    times_power,
)
from gspnl._base.warn import warn
from gspnl.chebyshev.families import combine
from gspnl.chebyshev.recurrence import scaled
from gspnl.chebyshev.series import Family
from gspnl.errors import DependenceWarning, DisconnectedWarning, DuplicatesWarning, InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.signals.checks import on_graph

STEP = 0.1  # ε in units of σ: smaller ones see jumps of the graph, 0.3 is off by 0.5 dB
NUMBERS = 200_000  # random numbers of all b together, if the signals have fewer
PROBES = 16  # signals b at most
STREAM = 1981  # of random numbers
EXPLAINED = 0.7  # of σ: noise that is not in the features is left whole by a fit on them

Rebuild = Callable[[Array], FeatureGraph]


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of m filters F_f of signals Z, with Jacobians J_f.

    Parameters
    ----------
    products : array of shape (m, m)
        ⟨F_f, F_g⟩.
    heads, divergence : arrays of shape (m,)
        ⟨Z, F_f⟩ and tr J_f.
    spread : array of shape (m, m)
        tr J_fᵀ J_g, by which noise of variance 1 adds to ``products``.
    """

    products: np.ndarray
    heads: np.ndarray
    divergence: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Noisy:
    """Signals with white noise on one graph, divided by a power of 2.

    Parameters
    ----------
    graph : FeatureGraph
    Z : array of shape (N, c)
        Without gradients, with a largest entry in [½, 1): squares stay in the range.
    sigma : float
        Standard deviation of the noise of Z.
    power : int
        Exponent of the power that they were divided by.
    """

    graph: FeatureGraph
    Z: Array
    sigma: float
    power: int

    @classmethod
    def of(cls, graph: FeatureGraph, Z: Any, sigma: float) -> Noisy:
        """Check signals; a batch of them becomes columns."""
        z = on_graph(graph, lambda x: x, Z)
        if z.ndim == 1:
            z = z[:, None]
        xp = namespace(z)
        z = xp.reshape(xp.moveaxis(detached(z), -2, 0), (graph.n_nodes, -1))
        power = math.frexp(largest_entry(z, "Z")[1])[1]
        return cls(graph, times_power(z, -power), math.ldexp(sigma, -power), power)

    def given(self, z: Array) -> Array:
        """Return signals in the unit of the user."""
        return times_power(z, self.power)

    @property
    def given_sigma(self) -> float:
        """The standard deviation in the unit of the user."""
        return math.ldexp(self.sigma, self.power)


@dataclass(frozen=True, eq=False)
class Risk:
    """Noisy signals, and graphs of perturbed ones.

    Parameters
    ----------
    noisy : Noisy
    probes : tuple of (array of shape (N, c), FeatureGraph, array of shape (N, c))
        b, the graph of Z + εb, and Z + εb.
    """

    noisy: Noisy
    probes: tuple[tuple[np.ndarray, FeatureGraph, Array], ...]

    @classmethod
    def of(cls, noisy: Noisy, rebuild: Rebuild | None, seed: int = 0) -> Risk:
        """Draw b and build the graphs; without ``rebuild`` they do not depend on the signals."""
        z, graph = noisy.Z, noisy.graph
        # Not the stream of default_rng(seed), which may have made the noise of the signals.
        rng = np.random.default_rng([STREAM, seed])
        count = min(max(math.ceil(NUMBERS / math.prod(z.shape)), 1), PROBES)
        probes = []
        for _ in range(count):
            b = rng.standard_normal(tuple(z.shape))
            moved = z + like(STEP * noisy.sigma * b, z)
            other = graph if rebuild is None else _again(rebuild, noisy.given(moved), graph)
            probes.append((b, other, moved))
        return cls(noisy, tuple(probes))

    def moments(self, family: Family) -> Moments:
        """Compute the moments of filters over λ/s."""
        signals = _flat(combine(_step(self.noisy.graph, family), family, self.noisy.Z))
        divergence, spread = np.zeros(len(signals)), np.zeros((len(signals),) * 2)
        for b, graph, moved in self.probes:
            change = _flat(combine(_step(graph, family), family, moved)) - signals
            change /= STEP * self.noisy.sigma
            divergence += change @ b.ravel() / len(self.probes)
            spread += change @ change.T / len(self.probes)
        heads = signals @ constant64(self.noisy.Z).ravel()
        return Moments(signals @ signals.T, heads, divergence, spread)

    def __call__(self, family: Family) -> np.ndarray:
        """Estimate ‖F(Z) − signal‖² of filters over λ/s, (m,)."""
        found = self.moments(family)
        z = constant64(self.noisy.Z).ravel()
        fit = np.diag(found.products) - 2 * found.heads + z @ z
        return np.asarray(fit + 2 * self.noisy.sigma**2 * found.divergence - self.energy)

    @property
    def energy(self) -> float:
        """N c σ², the energy of the noise."""
        return float(math.prod(self.noisy.Z.shape) * self.noisy.sigma**2)

    @property
    def variation(self) -> float:
        """Energy of Z without the mean of each column."""
        z = constant64(self.noisy.Z)
        return float(((z - z.mean(0)) ** 2).sum())

    @property
    def rounding(self) -> float:
        """Square of the rounding errors of filtered signals, about."""
        size = constant64(self.noisy.Z).ravel()
        coarse = max(eps(g.affinity.left) for g in (self.noisy.graph, *(p[1] for p in self.probes)))
        return (64 * coarse) ** 2 * float(size @ size)


def dependence(noisy: Noisy, rebuild: Rebuild | None) -> Rebuild | None:
    """Return how the graph follows from the signals, or None where it does not.

    Warns where the features of the graph explain the noise, and no ``rebuild`` is given.
    """
    if rebuild is not None:
        if not callable(rebuild):
            raise InputError(
                f"rebuild={rebuild!r} must be a function from signals to their graph, such as "
                "lambda Z: gspnl.feature_graph(Z, sigma=0.1)"
            )
        return rebuild
    source, Z, sigma = noisy.graph.source, noisy.given(noisy.Z), noisy.given_sigma
    if source is None:
        return None
    if source.is_signal(Z, sigma):
        return source.rebuild
    left, at_most = source.left(Z)
    if left < EXPLAINED * sigma and at_most < sigma:
        warn(
            f"the features of this graph explain the signals to {left:.2g}, less than the noise "
            f"sigma={sigma:g}, so they hold the same noise; the risk takes the graph as "
            "independent of it and will smooth too little. Pass rebuild=, a function from signals "
            "to their graph, as rebuild=lambda Z: gspnl.feature_graph(features_of(Z)); or check "
            "sigma",
            DependenceWarning,
        )
    return None


def _again(rebuild: Rebuild, Z: Array, graph: FeatureGraph) -> FeatureGraph:
    """Build the graph of other signals."""
    with warnings.catch_warnings():  # the user has read them of the first graph
        for category in (DisconnectedWarning, DuplicatesWarning):
            warnings.simplefilter("ignore", category)
        found = rebuild(Z)
    if not isinstance(found, FeatureGraph) or found.shape != graph.shape:
        what = f" of shape {found.shape}" if isinstance(found, FeatureGraph) else ""
        raise InputError(
            f"rebuild returned a {type(found).__name__}{what} for signals of shape "
            f"{tuple(Z.shape)}; return their graph, as for the given one of shape {graph.shape}"
        )
    if found.normalization != graph.normalization:
        raise InputError(
            f"rebuild returned a graph of normalization={found.normalization!r}, and the given one "
            f"has {graph.normalization!r}; build both in the same way"
        )
    if namespace(found.affinity.left) is not namespace(graph.affinity.left):
        raise InputError(
            f"rebuild returned a graph of {type(found.affinity.left).__name__}s, and the given one "
            f"holds {type(graph.affinity.left).__name__}s; build both from the same library"
        )
    return found


def _step(graph: FeatureGraph, family: Family) -> Callable[[Array], Array]:
    return scaled(family.interval, graph.affinity.apply)


def _flat(signals: Array) -> np.ndarray:
    """Return signals (m, N, c) as rows of float64."""
    return np.asarray(constant64(signals)).reshape(len(signals), -1)
