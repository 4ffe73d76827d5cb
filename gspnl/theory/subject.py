"""Features on which claims are checked, with their graphs, dense matrices and signals."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from gspnl._base.array import as_floats, check_finite, constant64
from gspnl._base.validate import whole_number
from gspnl.errors import InputError
from gspnl.graph.build import feature_graph
from gspnl.graph.graph import FeatureGraph
from gspnl.theory import dense

T = TypeVar("T")

DENSE_NODES = 160  # limit of dense checks: an eigendecomposition takes a few milliseconds
WIDTH = 3  # columns r of the embeddings
SIGNALS = 3  # columns c of the signals
GAIN = 1.5  # scale of the embeddings: weights differ, and several μ are well away from 0


@dataclass(frozen=True, eq=False)
class Subject:
    """Features on which claims are checked.

    Parameters
    ----------
    features : array of shape (N, C), float64
        Centred and scaled to a root mean square of 1, since kernels depend on the scale.
    seed : int
        Seed of the embeddings, the signals, the sample, and the random graphs of some claims.
    name : str
        Origin of the features, such as a file name.

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
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def random(cls, seed: int = 0) -> Subject:
        """Draw 160 nodes with 6 normal features each."""
        X = np.random.default_rng(whole_number("seed", seed)).standard_normal((DENSE_NODES, 6))
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
        values = constant64(X)
        peak = float(np.abs(values).max())
        if peak:  # scaled first, so that squares neither overflow nor underflow
            values = values / peak
        values = values - values.mean(0)
        size = float(np.sqrt((values**2).mean()))
        alike = size <= 64 * np.finfo(float).eps * bool(peak)
        values = np.zeros_like(values) if alike else values / size
        return cls(values, whole_number("seed", seed), name)

    @property
    def n_nodes(self) -> int:
        """N."""
        return len(self.features)

    @property
    def facts(self) -> dict[str, Any]:
        """Name, sizes and seed, for JSON."""
        return {
            "name": self.name,
            "nodes": self.n_nodes,
            "columns": self.features.shape[1],
            "sample": len(self.sample),
            "seed": self.seed,
        }

    @property
    def sample(self) -> np.ndarray:
        """Features of the nodes of dense checks: all nodes, or a seeded sample of 160."""
        return self.keep("sample", self._sample)

    def _sample(self) -> np.ndarray:
        if self.n_nodes <= DENSE_NODES:
            return self.features
        chosen = self.rng("sample").choice(self.n_nodes, DENSE_NODES, replace=False)
        return self.features[np.sort(chosen)]

    def rng(self, name: str) -> np.random.Generator:
        """Return the random generator of a name, seeded by ``seed`` and the name."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def signals(self, n: int | None = None) -> np.ndarray:
        """Draw normal signals (n, 3); n defaults to the nodes of the sample."""
        n = len(self.sample) if n is None else n
        return self.rng("signals").standard_normal((n, SIGNALS))

    @property
    def embedding(self) -> tuple[np.ndarray, np.ndarray]:
        """W_φ and W_ψ, each (C, r)."""
        columns = self.features.shape[1]
        pair = GAIN / np.sqrt(columns) * self.rng("embedding").standard_normal((2, columns, WIDTH))
        return pair[0], pair[1]

    def graph(self, normalization: str, *, everything: bool = False) -> FeatureGraph:
        """Build the paper's graph of softplus dot products, on the sample or on all nodes."""
        X = self.features if everything else self.sample
        return self.keep(
            ("graph", normalization, everything and self.n_nodes > DENSE_NODES),
            lambda: feature_graph(
                X, "dot", self.embedding, normalization, "lowrank", feature_map="softplus"
            ),
        )

    def weights(self) -> np.ndarray:
        """W of the sample in dense NumPy, (n, n)."""
        return self.keep("weights", lambda: dense.dot_weights(self.sample, *self.embedding))

    def affinity(self, normalization: str) -> tuple[np.ndarray, np.ndarray]:
        """A of the sample and the diagonal of T, in dense NumPy."""
        return self.keep(
            ("plain", normalization), lambda: dense.normalized(self.weights(), normalization)
        )

    def modes(self, normalization: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """λ ascending, U and U⁻¹ of the sample, in dense NumPy."""
        return self.keep(
            ("modes", normalization), lambda: dense.modes(*self.affinity(normalization))
        )

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """Return the cached value of ``key``, computed by ``make`` the first time."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value
