"""Points, signals, graphs and sizes of fourier_sums.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _measure import SEED

import gspnl

SIGMA = {1: 0.05, 2: 0.05, 3: 0.1}  # in the unit cube, by its dimension
TOL = 1e-6


@dataclass(frozen=True)
class Sizes:
    """Numbers of points of each part."""

    hand: int = 1_000_000
    tiles: int = 100_000
    keops: int = 200_000
    crossover: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000)
    scaling: tuple[int, ...] = tuple(round(10 ** (4 + k / 2)) for k in range(7))
    moons: int = 1_000_000


SMALL = Sizes(
    20_000, 3_000, 3_000, (300, 1_000, 3_000), (3_000, 10_000, 30_000), 20_000
)  # fmt: skip


def points(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(SEED).random((n, d))


def signals(n: int, columns: int) -> np.ndarray:
    return np.random.default_rng([SEED, 1]).standard_normal((n, columns))


def fourier(X: np.ndarray, tol: float = TOL) -> gspnl.FeatureGraph:
    sigma = SIGMA[X.shape[1]]
    return gspnl.feature_graph(X, "rbf", sigma=sigma, approximation="fourier", tol=tol)


def moons(n: int, seed: int, noise: float = 0.07) -> tuple[np.ndarray, np.ndarray]:
    """Two half-moons, (n, 2), and the moon of each point."""
    rng = np.random.default_rng(seed)
    angle = np.pi * rng.random(n)
    moon = np.arange(n) % 2
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    X[moon == 1] = [1.0, 0.5] - X[moon == 1]
    return X + noise * rng.standard_normal(X.shape), moon
