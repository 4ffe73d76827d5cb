"""Judge λ₂ of one graph by what is cached, by a filtered signal, or by a few products."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array, constant64, eps
from gspnl._base.blas import on_one_thread
from gspnl.affinity.affinity import Affinity
from gspnl.filters.cache import SpectralCache
from gspnl.filters.deflation.recurrence import lower_end
from gspnl.filters.low_end import live_nodes, low_end
from gspnl.filters.relative import unit_of
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate

COLUMNS = 4  # signals that are looked at


@on_one_thread
def second_above(
    cache: SpectralCache,
    level: float,
    signals: tuple[Array, Array] | None = None,
    response: Response | None = None,
) -> float | None:
    r"""Return λ₂/s of one graph where it is above ``level``, else None.

    The answer is kept in the cache. The first is taken from: eigenvalues or a band that are cached;
    signals; a Lanczos run that ends once λ₂ is seen to be at most the level, a few products.

    Parameters
    ----------
    cache : SpectralCache
        Of a graph with a symmetric core.
    level : float
    signals : pair of arrays of shape (N, c), optional
        Z and g(L) Z, for a decreasing g. On the complement of the constant mode
        :math:`\|T^{-1} g(L) Z\| ≤ g(λ_2) \|T^{-1} Z\|`, so a larger ratio than g(level) shows that
        λ₂ is below.
    response : callable, optional
        g(λ).
    """
    if cache.second_at_most <= level:
        return None
    if cache.second is None:
        found = _known(cache)
        if found is None and signals is not None and response is not None:
            at = float(evaluate(response, np.array([level * unit_of(cache.affinity)]))[0])
            # A share of 1 − g leaves room for the error of a series.
            if _largest_ratio(cache.affinity, *signals) > at + 0.05 * (1 - at):
                cache.second_at_most = level
                return None
        if found is None:
            found = _searched(cache, level)
        cache.second = found
        cache.second_at_most = found
    return cache.second if cache.second > level else None


def _known(cache: SpectralCache) -> float | None:
    """Return λ₂/s where eigenvalues or a band of it are cached."""
    band = cache.known_deflation(1)
    if cache.has_spectrum:
        values = low_end(cache).values
        return float(values[1:].min()) if len(values) > 1 else 0.0
    if band is not None:
        return band.inner_ends[0] if band.has_band else None
    return None if cache.affinity.low_rank is None else _of_gram(cache)


def _of_gram(cache: SpectralCache) -> float:
    """Return λ₂/s of a low-rank graph, from m × m matrices."""
    live, mu = live_nodes(cache.affinity), constant64(cache.engine.eigen.values)
    if live < 2:
        return 0.0
    rest = np.delete(mu, np.argmin(np.abs(mu - 1)))
    return 1 - float(rest.max(initial=-np.inf if live <= len(mu) else 0.0))


def _searched(cache: SpectralCache, level: float) -> float:
    """Run Lanczos; graphs of fewer than two nodes with edges have nothing to average."""
    return lower_end(cache.affinity, level) if live_nodes(cache.affinity) > 1 else 0.0


def _largest_ratio(affinity: Affinity, before: Array, after: Array) -> float:
    """Return the largest ‖T⁻¹ y‖ / ‖T⁻¹ z‖ of some columns, without their constant modes."""
    scale = constant64(affinity.change)[:, None]
    mode = constant64(affinity.stationary)[:, None]
    live = mode > 0

    def sizes(x: Array) -> np.ndarray:
        inner = np.where(live, constant64(x[:, :COLUMNS]) / scale, 0.0)
        rest = inner - mode @ (mode.T @ inner)
        whole, varying = np.linalg.norm(inner, axis=0), np.linalg.norm(rest, axis=0)
        return np.asarray(np.where(varying > np.sqrt(eps(x)) * whole, varying, 0.0))

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # signals of any size
        ratios = sizes(after) / sizes(before)
    return float(ratios[np.isfinite(ratios)].max(initial=0.0))
