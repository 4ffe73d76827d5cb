"""Interface of a directed A that is known by its products."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Products(Protocol):
    """Products of a real N × N matrix A and of its transpose, in NumPy and float64."""

    @property
    def n(self) -> int:
        """N."""

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A Z, (N, c) → (N, c)."""

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Aᵀ Z, (N, c) → (N, c)."""
