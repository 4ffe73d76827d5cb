"""Order of complex eigenvalues."""

from __future__ import annotations

import numpy as np


def descending(mu: np.ndarray) -> np.ndarray:
    """Return eigenvalues by descending modulus; of equal ones, by descending real part.

    Moduli that differ by rounding count as equal, so that 1 comes before other eigenvalues on the
    unit circle, and conjugates stand together.
    """
    mu = np.asarray(mu, dtype=complex)
    size = np.abs(mu)
    near = np.round(size / max(float(size.max(initial=0.0)), np.finfo(float).tiny), 12)
    order: np.ndarray = mu[np.lexsort((-mu.imag, -np.round(mu.real, 12), -near))]
    return order
