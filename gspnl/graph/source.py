"""Sample of the features that a graph was built from, and the way to build it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from scipy.special import gammaincinv

from gspnl._base.array import Array, as_floats, constant64, is_array, like, namespace

SAMPLE = 2048  # nodes
ENTRIES = 1 << 20  # of a sample, at most
SAME = 1e-3  # difference of equal signals, relative to the noise
RARE = 1e-4  # probability of a smaller sum of squares

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Source:
    """Features of some nodes of one graph.

    Parameters
    ----------
    nodes : array of int of shape (m,)
        Sampled nodes, ascending.
    values : array of shape (m, C)
        Their features, float64.
    rebuild : callable
        ``rebuild(X) -> FeatureGraph``, the same graph of other features (N, C).
    """

    nodes: np.ndarray
    values: np.ndarray
    rebuild: Callable[[Array], Any]

    @classmethod
    def of(cls, X: Array, rebuild: Callable[[Array], Any]) -> Source | None:
        """Sample features X (N, C); None for a batch."""
        if X.ndim != 2:
            return None
        n, most = X.shape[0], max(min(SAMPLE, ENTRIES // max(X.shape[1], 1)), 1)
        rng = np.random.default_rng(0)
        nodes = np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
        return cls(nodes, np.array(_rows(X, nodes)), rebuild)

    def is_signal(self, Z: Array, noise: float) -> bool:
        """Tell whether signals Z (N, c) are the features, to well within the noise."""
        if tuple(Z.shape[1:]) != self.values.shape[1:]:
            return False
        with np.errstate(over="ignore"):
            apart = np.abs(_rows(Z, self.nodes) - self.values) / noise
            return bool(np.sqrt((apart * apart).mean()) <= SAME)

    def left(self, Z: Array) -> tuple[float, float]:
        r"""Return the standard deviation that features leave of the least explained signal.

        Signals Z (N, c) are fitted by 1, x and x² of the features. Noise that is not in the
        features is not explained by them, so what is left of a noisy signal is at least its noise.
        The second number is an upper bound, passed by chance once in 10⁴. inf where the sample is
        too small to judge.
        """
        x = _in_unit(self.values)[0]
        x = _in_unit(x - x.mean(0))[0]
        terms = [np.ones((len(x), 1)), x]
        if 4 * (1 + 2 * x.shape[1]) <= len(x):
            terms.append(x * x)
        basis = np.concatenate(terms, axis=1)
        if 2 * basis.shape[1] > len(x):
            return float("inf"), float("inf")
        z, unit = _in_unit(_rows(Z, self.nodes))
        fit = np.linalg.lstsq(basis, z, rcond=None)[0]
        squares = float((((z - basis @ fit) * (unit / unit.max())) ** 2).sum(0).max())
        freedom = len(x) - basis.shape[1]
        surely = 2 * float(gammaincinv(freedom / 2, RARE))  # quantile of χ²
        size = float(unit.max())
        return size * float(np.sqrt(squares / freedom)), size * float(np.sqrt(squares / surely))


def keeps_source(build: Builder) -> Builder:
    """Decorate a function from features to their graph so that the graph knows its source."""

    @wraps(build)
    def built(X: Any, *args: Any, **options: Any) -> Any:
        graph = build(X, *args, **options)
        options.pop("progress", None)
        features = X if is_array(X) else as_floats(X, "X")  # only the sample is converted
        source = Source.of(features, _Again(built, args, options))
        object.__setattr__(graph, "source", source)  # frozen, and new
        return graph

    return cast(Builder, built)


@dataclass(frozen=True, eq=False)
class _Again:
    """Call of a function with other features."""

    build: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self, X: Array) -> Any:
        return self.build(X, *self.args, **self.options)


def _rows(X: Array, nodes: np.ndarray) -> np.ndarray:
    """Return rows of X (N, C) in float64."""
    if len(nodes) == X.shape[0]:
        return constant64(X)
    if isinstance(X, np.ndarray):
        return constant64(X[nodes])
    xp = namespace(X)
    index = like(nodes, xp.zeros_like(X[:0, 0], dtype=xp.int64))
    return constant64(xp.take(X, index, axis=0))


def _in_unit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide columns by their largest entry, 1 where that is 0; also return it."""
    peak = np.abs(x).max(0)
    peak = np.where(peak > 0, peak, 1.0)
    return x / peak, peak
