"""B = Π^½ A Π^-½ on the complement of √π, the part of a directed A that is not its average."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from gspnl._base.products import Products

ACCURATE = 1e-5  # relative error of an entry of π above which it counts as unknown


class Part(Protocol):
    """C = B − √π √πᵀ, stored or by its products."""

    @property
    def n(self) -> int:
        """N."""

    @property
    def root(self) -> np.ndarray:
        """√π as a unit column, (N, 1)."""

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute C Z."""

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Cᵀ Z."""


@dataclass(frozen=True, eq=False)
class MatrixProducts:
    """Products with a stored matrix.

    Parameters
    ----------
    matrix : array of float64 of shape (N, N)
    """

    matrix: np.ndarray

    @property
    def n(self) -> int:
        """N."""
        return len(self.matrix)

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A Z."""
        return np.asarray(self.matrix @ Z)

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Aᵀ Z."""
        return np.asarray(self.matrix.T @ Z)


@dataclass(frozen=True, eq=False)
class PowerProducts:
    """Products with A^p.

    Parameters
    ----------
    of : Products
    power : int
        p ≥ 1.
    """

    of: Products
    power: int

    @property
    def n(self) -> int:
        """N."""
        return self.of.n

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute A^p Z."""
        for _ in range(self.power):
            Z = self.of.apply(Z)
        return Z

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute (A^p)ᵀ Z."""
        for _ in range(self.power):
            Z = self.of.transpose(Z)
        return Z


def matrix_of(products: Products) -> np.ndarray:
    """Return A as a dense array."""
    if isinstance(products, MatrixProducts):
        return products.matrix
    return np.asarray(products.apply(np.eye(products.n)))


@dataclass(frozen=True, eq=False)
class Core:
    r"""C = B − √π √πᵀ with B = Π^½ A Π^-½, for a positive stationary distribution.

    √π is a left and right null vector of C, whose other eigenvalues are those of A but one 1. Norms
    of C in the plain norm are norms of A − 1πᵀ in the stationary one.

    Parameters
    ----------
    products : Products
        Of A.
    pi : array of shape (N,)
        π > 0, with sum 1.
    """

    products: Products
    pi: np.ndarray

    @property
    def n(self) -> int:
        """N."""
        return self.products.n

    @cached_property
    def root(self) -> np.ndarray:
        """√π as a unit column, (N, 1)."""
        return np.asarray(np.sqrt(self.pi)[:, None])

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute C Z."""
        return self.project(self.root * self.products.apply(self.project(Z) / self.root))

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Cᵀ Z."""
        return self.project(self.products.transpose(self.root * self.project(Z)) / self.root)

    def project(self, Z: np.ndarray) -> np.ndarray:
        """Remove the component along √π."""
        return np.asarray(Z - self.root * (self.root.T @ Z))

    @cached_property
    def matrix(self) -> np.ndarray:
        """C as a dense array."""
        B = self.root * matrix_of(self.products) / self.root.T
        half: np.ndarray = B - self.root @ (self.root.T @ B)
        return np.asarray(half - (half @ self.root) @ self.root.T)

    def stored(self) -> StoredCore:
        """Return C with its products by a dense array."""
        return StoredCore(self.matrix, self.root)


@dataclass(frozen=True, eq=False)
class StoredCore:
    """C as a dense array.

    Parameters
    ----------
    matrix : array of shape (N, N)
    root : array of shape (N, 1)
        √π.
    """

    matrix: np.ndarray
    root: np.ndarray

    @property
    def n(self) -> int:
        """N."""
        return len(self.matrix)

    def apply(self, Z: np.ndarray) -> np.ndarray:
        """Compute C Z."""
        return np.asarray(self.matrix @ Z)

    def transpose(self, Z: np.ndarray) -> np.ndarray:
        """Compute Cᵀ Z."""
        return np.asarray(self.matrix.T @ Z)


def drift(products: Products, pi: np.ndarray) -> np.ndarray:
    """Return Aᵀπ − π, (N,): how far π is from stationary."""
    return np.asarray(products.transpose(pi[:, None])[:, 0] - pi)


def positive_core(products: Products, pi: np.ndarray | None) -> Core | str:
    """Return C, or the reason why there is none."""
    if pi is None:
        return (
            "A has no unique stationary distribution: it has several closed classes, which do not "
            "mix"
        )
    if not (pi > 0).all():
        return (
            f"{int((pi <= 0).sum())} of {len(pi)} nodes are transient (π = 0, as under a causal "
            "mask), so the stationary norm is none; gspnl.stability.dobrushin tells what depth does"
        )
    off = float((np.abs(drift(products, pi)) / pi).max())
    if not off <= ACCURATE:
        return (
            f"π is known to a relative error of {off:.1e} at some nodes only, which the stationary "
            "norm divides by; gspnl.stability.dobrushin tells what depth does"
        )
    return Core(products, pi)
