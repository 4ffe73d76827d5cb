"""What every storage of W can do; nothing else may be asked of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gspnl._base.array import Array, namespace, ones
from gspnl._base.registry import Registry
from gspnl.affinity.kernels import Kernel


class Weights(ABC):
    """The weights W of a graph, (..., N, N), held in some way."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(..., N, N)."""

    @property
    @abstractmethod
    def like(self) -> Array:
        """An array of the library, dtype and device in which W is held."""

    @abstractmethod
    def matmul(self, Z: Array) -> Array:
        """W Z: (..., N, c) → (..., N, c)."""

    def scaled_matmul(self, scale: Array, Z: Array) -> Array:
        """diag(scale) W diag(scale) Z, for a scale of shape (..., N, 1)."""
        return scale * self.matmul(scale * Z)

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
        """Logarithm of a factor taken out of W, where its entries would leave the range.

        A number for each graph, all else here being about W less that factor; A does not see it.
        """
        return 0.0

    @property
    def signed(self) -> bool:
        """Whether entries may be negative though the kernel is not: W is an approximation."""
        return False

    def log_degrees(self) -> Array | None:
        """Log d, (..., N), where it is known although d leaves the range; without a gradient."""
        return None

    @property
    def lazy(self) -> bool:
        """Whether degrees cost a pass over all pairs and surely are positive: left until needed."""
        return False

    def averages(self, Z: Array) -> Array:
        """diag(W 1)⁻¹ W Z, degrees and product in one sweep."""
        xp = namespace(Z)
        unit = ones((*Z.shape[:-1], 1), Z)
        both = self.matmul(xp.concat([Z, unit], axis=-1))
        return both[..., :-1] / both[..., -1:]


@dataclass(frozen=True)
class Storage:
    """A way to hold W.

    Parameters
    ----------
    build : callable
        ``build(kernel, X, embed, symmetrize=, self_loops=) -> Weights``: W = ½(M + Mᵀ), or M itself
        if not ``symmetrize``, of features X (..., N, C); with no diagonal if not ``self_loops``.
    supports : callable
        ``supports(kernel) -> bool``: whether the kernel's W can be held this way.
    """

    build: Callable[..., Weights]
    supports: Callable[[Kernel], bool]


STORAGES: Registry[Storage] = Registry("storage")
