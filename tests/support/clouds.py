"""Random point clouds of several shapes, and their Gaussian weights."""

from __future__ import annotations

import numpy as np


def gaussian(a):
    """Compute exp(−‖a_i − a_j‖²/2) by differences, in float64."""
    gaps = a[:, None, :] - a[None, :, :]
    return np.exp(-(gaps**2).sum(-1) / 2)


def draw(rng, n, d):
    """Draw points of one of six shapes, (n, d), with the name of the shape."""
    shape = rng.choice(["uniform", "clusters", "line", "duplicates", "outlier", "anisotropic"])
    X = rng.random((n, d))
    if shape == "clusters":
        X = rng.random((5, d))[rng.integers(5, size=n)] + 0.02 * rng.standard_normal((n, d))
    elif shape == "line":
        X = rng.random((n, 1)) * rng.standard_normal(d)
    elif shape == "duplicates":
        X = X[rng.integers(n // 4, size=n)]
    elif shape == "outlier":
        X[0] += 10.0 ** rng.uniform(1, 4)
    elif shape == "anisotropic":
        X *= 10.0 ** rng.uniform(-3, 0, d)
    return shape, X
