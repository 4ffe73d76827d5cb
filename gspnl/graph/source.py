"""Sample of the features that a graph was built from, and the way to build it again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from gspnl._base.array import Array, as_floats, constant64, namespace

P = ParamSpec("P")
G = TypeVar("G")

SAMPLE = 2048  # nodes
SAME = 1e-3  # difference of equal signals, relative to the noise


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
        n = X.shape[0]
        rng = np.random.default_rng(0)
        nodes = np.arange(n) if n <= SAMPLE else np.sort(rng.choice(n, SAMPLE, replace=False))
        return cls(nodes, np.array(_rows(X, nodes)), rebuild)

    def is_signal(self, Z: Array, noise: float) -> bool:
        """Tell whether signals Z (N, c) are the features, to well within the noise."""
        z = self._part(Z)
        return z.shape == self.values.shape and _rms(z - self.values) <= SAME * noise

    def left(self, Z: Array) -> float:
        r"""Return the standard deviation that features leave of the least explained signal.

        Signals Z (N, c) are fitted by 1, x and x² of the features. Noise that is not in the
        features is not explained by them, so what is left of a noisy signal is at least its noise.
        inf where the sample is too small to judge.
        """
        x = self.values - self.values.mean(0)
        x = x / (np.abs(x).max(0) + np.finfo(float).tiny)
        terms = [np.ones((len(x), 1)), x]
        if 4 * (1 + 2 * x.shape[1]) <= len(x):
            terms.append(x * x)
        basis = np.concatenate(terms, axis=1)
        if 2 * basis.shape[1] > len(x):
            return float("inf")
        z = self._part(Z)
        fit = np.linalg.lstsq(basis, z, rcond=None)[0]
        freedom = len(x) - basis.shape[1]
        return float(np.sqrt(((z - basis @ fit) ** 2).sum(0) / freedom).max())

    def _part(self, Z: Array) -> np.ndarray:
        return _rows(Z, self.nodes)


def keeps_source(build: Callable[P, G]) -> Callable[P, G]:
    """Decorate a function that builds a graph of features X, its first argument.

    The graph then has a :class:`Source`, which builds it again with the other arguments.
    """
    signature = inspect.signature(build)

    @wraps(build)
    def built(*args: P.args, **kwargs: P.kwargs) -> G:
        graph = build(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        options = {**given.arguments, **given.arguments.get("kernel_options", {})}
        features = as_floats(options.pop("X"), "X")
        for name in ("kernel_options", "progress"):
            options.pop(name, None)
        source = Source.of(features, partial(built, **options))
        object.__setattr__(graph, "source", source)  # of a graph that nobody else has seen
        return graph

    return built


def _rows(X: Array, nodes: np.ndarray) -> np.ndarray:
    """Return some rows of (N, c) in float64, without gradients."""
    xp = namespace(X)
    return np.asarray(constant64(xp.take(X, xp.asarray(nodes, device=X.device), axis=0)))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt((x * x).mean()))
