"""Interface and registry of the storages of W."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gspnl._base.array import Array, namespace, ones
from gspnl._base.registry import Registry
from gspnl.affinity.kernels import Kernel


class Weights(ABC):
    """Weights W of a graph, (..., N, N), in some storage.

    ``factored`` tells whether a series in S costs about as much at any order, by
    :meth:`gram_factor`; an attribute, since each filter asks for it several times.
    """

    factored: bool = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(..., N, N)."""

    @property
    @abstractmethod
    def like(self) -> Array:
        """Array of the library, dtype and device of W."""

    @abstractmethod
    def matmul(self, Z: Array) -> Array:
        """W Z: (..., N, c) → (..., N, c)."""

    @abstractmethod
    def rows(self, index: Array) -> Array:
        """Rows of W: k indices → (..., k, N)."""

    @abstractmethod
    def item(self, index: tuple[int, ...]) -> Weights:
        """One graph of a batch."""

    def degrees(self) -> Array:
        """D = W 1, (..., N)."""
        return self.matmul(ones((*self.shape[:-1], 1), self.like))[..., 0]

    @property
    def log_factor(self) -> Any:
        """Logarithm of a factor that is divided out of W to keep its entries in the dtype's range.

        One number for each graph. Products, rows and degrees are those of W without the factor;
        A does not depend on it.
        """
        return 0.0

    @property
    def signed(self) -> bool:
        """Whether entries may be negative though the kernel is not, as in an approximation."""
        return False

    def operations(self, columns: int) -> float:
        """Count the operations of a product with ``columns`` signals, in units of matrix products.

        The default is that of N² stored entries.
        """
        return 2.0 * self.shape[-2] * self.shape[-1] * columns

    def log_degrees(self) -> Array | None:
        """Return log d, (..., N), where d itself would leave the range; it has no gradient."""
        return None

    @property
    def sparse(self) -> Any | None:
        """W as a SciPy matrix where it is stored as one, else None."""
        return None

    @property
    def entries(self) -> int | None:
        """Number of entries of W where it is stored as a SciPy matrix, else None."""
        return None

    @property
    def lanczos_block(self) -> int:
        """Columns of a block of a Lanczos run: a few, where a product with a few costs as one."""
        return 4

    def gram_factor(self, scale: Array) -> GramFactor | None:
        """Return diag(scale) W diag(scale) = F Fᵀ of one graph, where FᵀF has cheap products."""
        return None

    @property
    def lazy(self) -> bool:
        """Whether degrees, positive and as costly as a pass over all pairs, are deferred."""
        return False

    def averages(self, Z: Array) -> Array:
        """Compute diag(W 1)⁻¹ W Z, degrees and product in one pass over W."""
        xp = namespace(Z)
        unit = ones((*Z.shape[:-1], 1), Z)
        both = self.matmul(xp.concat([Z, unit], axis=-1))
        return both[..., :-1] / both[..., -1:]


class GramFactor(Protocol):
    """A positive semi-definite S = F Fᵀ (N, N), by products in NumPy and float64."""

    size: int  # columns of F

    def heads(self, Z: np.ndarray) -> np.ndarray:
        """Compute Fᵀ Z, (N, c) → (size, c)."""

    def times(self, h: np.ndarray) -> np.ndarray:
        """Compute F h, (size, c) → (N, c)."""

    def gram(self, h: np.ndarray) -> np.ndarray:
        """Compute Fᵀ F h, (size, c) → (size, c)."""

    def operations(self, columns: int) -> float:
        """Count the operations of :meth:`gram`, in units of matrix products."""


@dataclass(frozen=True)
class Storage:
    """A storage of W by its constructor.

    Parameters
    ----------
    build : callable
        ``build(kernel, X, embed, symmetrize=, self_loops=) -> Weights``: W = ½(M + Mᵀ), or M itself
        if not ``symmetrize``, of features X (..., N, C); with no diagonal if not ``self_loops``.
    supports : callable
        ``supports(kernel) -> bool``: whether the kernel's W can be stored this way.
    """

    build: Callable[..., Weights]
    supports: Callable[[Kernel], bool]


def item_factor(factor: Any, index: tuple[int, ...]) -> float:
    """Return the ``log_factor`` of one graph of a batch."""
    values = np.asarray(factor)
    return float(values[index] if values.ndim else values)


STORAGES: Registry[Storage] = Registry("storage")
