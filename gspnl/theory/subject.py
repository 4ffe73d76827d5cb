"""What claims are checked on: features, with the graphs and signals made of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gspnl._base.array import as_floats, check_finite, constant
from gspnl.errors import InputError
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.theory import plain

T = TypeVar("T")

DENSE_NODES = 160  # of the dense checks: an eigendecomposition takes a few milliseconds
WIDTH = 3  # r of the embeddings
SIGNALS = 3  # c of the signals
GAIN = 1.5  # of the embeddings, so that weights differ and several μ are well away from 0


@dataclass(frozen=True, eq=False)
class Subject:
    """Features on which claims are checked.

    Parameters
    ----------
    features : array of shape (N, C), float64
        Centred and scaled to a root mean square of 1: claims are free of units, kernels are not.
    seed : int
        Of the embeddings, the signals, the sample, and the random graphs that some claims build.
    name : str
        Where the features come from.

    Examples
    --------
    >>> from gspnl.theory import Subject
    >>> subject = Subject.random(seed=1)
    >>> subject.features.shape, subject.graph("random_walk").n_nodes
    ((160, 6), 160)
    """

    features: np.ndarray
    seed: int
    name: str
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def random(cls, seed: int = 0) -> Subject:
        """160 nodes with 6 normal features each."""
        X = np.random.default_rng(_seed(seed)).standard_normal((DENSE_NODES, 6))
        return cls.of(X, seed, "random features")

    @classmethod
    def of(cls, X: Any, seed: int = 0, name: str = "features") -> Subject:
        """Check, centre and scale features (N, C), of any dtype and scale.

        Raises
        ------
        InputError
            For fewer than 2 nodes, no columns, other shapes, or values that are not finite.
        """
        X = as_floats(X, name)
        if X.ndim != 2 or X.shape[0] < 2 or X.shape[1] < 1:
            raise InputError(
                f"{name} has shape {tuple(X.shape)}; features have shape (N, C) with N ≥ 2 nodes "
                "and C ≥ 1 columns"
            )
        check_finite(X, name)
        values = np.asarray(constant(X), dtype=np.float64)
        peak = float(np.abs(values).max())
        if peak:  # before squares, which leave the range at either end
            values = values / peak
        values = values - values.mean(0)
        size = float(np.sqrt((values**2).mean()))
        alike = size <= 64 * np.finfo(float).eps * bool(peak)
        return cls(np.zeros_like(values) if alike else values / size, _seed(seed), name)

    @property
    def n_nodes(self) -> int:
        """N."""
        return len(self.features)

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, for JSON."""
        return {
            "name": self.name,
            "nodes": self.n_nodes,
            "columns": self.features.shape[1],
            "sample": len(self.sample),
            "seed": self.seed,
        }

    @property
    def sample(self) -> np.ndarray:
        """The features of the nodes that dense checks take: all, or a seeded sample of them."""
        return self.keep("sample", self._sample)

    def _sample(self) -> np.ndarray:
        if self.n_nodes <= DENSE_NODES:
            return self.features
        chosen = self.rng("sample").choice(self.n_nodes, DENSE_NODES, replace=False)
        return self.features[np.sort(chosen)]

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for each name."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def signals(self, n: int | None = None) -> np.ndarray:
        """Normal signals (n, 3); n defaults to the nodes of the sample."""
        n = len(self.sample) if n is None else n
        return self.rng("signals").standard_normal((n, SIGNALS))

    @property
    def embedding(self) -> tuple[np.ndarray, np.ndarray]:
        """W_φ and W_ψ, each (C, r)."""
        columns = self.features.shape[1]
        pair = GAIN / np.sqrt(columns) * self.rng("embedding").standard_normal((2, columns, WIDTH))
        return pair[0], pair[1]

    def graph(self, normalization: str, *, everything: bool = False) -> FeatureGraph:
        """The paper's graph, softplus dot products of two embeddings: of the sample, or of all."""
        X = self.features if everything else self.sample
        return self.keep(
            ("graph", normalization, everything and self.n_nodes > DENSE_NODES),
            lambda: feature_graph(
                X, "dot", self.embedding, normalization, "lowrank", feature_map="softplus"
            ),
        )

    def weights(self) -> np.ndarray:
        """W of the sample, by NumPy alone, (n, n)."""
        return self.keep("weights", lambda: plain.dot_weights(self.sample, *self.embedding))

    def affinity(self, normalization: str) -> tuple[np.ndarray, np.ndarray]:
        """A of the sample and the diagonal of T, by NumPy alone."""
        return self.keep(
            ("plain", normalization), lambda: plain.normalized(self.weights(), normalization)
        )

    def modes(self, normalization: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """λ ascending, U and U⁻¹ of the sample, by NumPy alone."""
        return self.keep(
            ("modes", normalization), lambda: plain.modes(*self.affinity(normalization))
        )

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """Return what was made for ``key``, making it the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed={seed!r} must be a whole number ≥ 0")
    return int(seed)
