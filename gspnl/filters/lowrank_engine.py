r"""Functions of a low-rank graph through its Gram matrix: no QR, no inverse, no eigenvectors.

With :math:`W = B J B^T`, :math:`G = B^T diag(lr) B` (m × m) and f(μ) = g(1 − μ),

.. math::

    f(A) = f(0) I + diag(l)\, B\, C\, B^T diag(r), \quad C = J\,p(GJ), \quad
    p(x) = (f(x) - f(0))/x,

because :math:`A^k = diag(l)\, B J (GJ)^{k-1} B^T diag(r)`. Any f takes two passes over B, whose
columns may be linearly dependent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property, partial
from operator import matmul

import numpy as np
from numpy.polynomial import chebyshev as npcheb
from scipy.linalg.lapack import dpotrf

from gspnl._base.array import Array, float64, is_numpy, like, namespace, to_numpy
from gspnl._base.rows import map_rows, sum_rows
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.recurrence import scales, small_terms
from gspnl.chebyshev.series import EPS, Family, interpolation_coefficients, nodes
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate


@dataclass(frozen=True, eq=False)
class LowRankEngine:
    """One symmetric low-rank graph with its Gram matrix.

    Attributes
    ----------
    affinity : Affinity
    weights : LowRank
        B and J.
    gram : array of shape (m, m), float64
        G = Bᵀ diag(l r) B.
    """

    affinity: Affinity
    weights: LowRank
    gram: Array

    @classmethod
    def build(cls, affinity: Affinity, weights: LowRank, Z: Array) -> tuple[LowRankEngine, Array]:
        """Compute G, and Bᵀ diag(r) Z, in one pass over B; both in float64."""
        right = affinity.right
        both = affinity.left if right is None else affinity.left * right
        columns = [weights.factor, both[..., None], Z]

        def block(b: Array, s: Array, z: Array, r: Array | None = None) -> tuple[Array, Array]:
            return float64(b.mT @ (b * s)), float64(b.mT @ (z if r is None else r * z))

        G, heads = sum_rows(block, *columns, *([] if right is None else [right[..., None]]))
        return cls(affinity, weights, G), heads

    @cached_property
    def core(self) -> Array:
        """J in float64."""
        return float64(self.weights.core)

    @cached_property
    def eigen(self) -> SmallEigen:
        """Eigenpairs of S, in m × m matrices."""
        return SmallEigen.of(self.gram, self.core)

    def project(self, Z: Array) -> Array:
        """Compute Bᵀ diag(r) Z, (..., m, c)."""
        return self.weights.heads(scale_rows(self.affinity.right, Z))

    def expand(
        self,
        null_gain: float | Array,
        isolated_gain: float | Array,
        core: Array,
        Z: Array,
        heads: Array | None = None,
    ) -> Array:
        """Compute f(0) Z + diag(l) B C Bᵀ diag(r) Z, and ``isolated_gain`` · Z on isolated nodes.

        Parameters
        ----------
        null_gain, isolated_gain : float, or array of shape (F, 1, 1)
            f(0), and the gain of isolated nodes; arrays for F filters.
        core : array of shape (m, m), or (F, m, m)
            C.
        Z : array of shape (..., N, c), or (..., 1, N, c) for F filters
        heads : array, optional
            Bᵀ diag(r) Z, computed if it is not given.
        """
        affinity = self.affinity
        heads = self.project(Z) if heads is None else heads
        small = like(core @ float64(heads), Z)
        out = map_rows(
            lambda b, left, z: null_gain * z + left * (b @ small),
            self.weights.factor,
            affinity.left[..., None],
            Z,
            columns=math.prod(core.shape[:-2]) * Z.shape[-1],
        )
        if affinity.isolated is None:
            return out
        return affinity.xp.where(affinity.isolated[..., None], isolated_gain * Z, out)

    def contract(
        self,
        null_gain: Array,
        isolated_gain: Array,
        core: Array,
        C: Array,
        heads: Array | None = None,
    ) -> Array:
        """Sum over f of :meth:`expand` applied to C_f: (..., F, N, c) to (..., N, c)."""
        xp, affinity = self.affinity.xp, self.affinity
        heads = self.project(C) if heads is None else heads
        small = like(xp.sum(core @ float64(heads), axis=-3), C)
        out = map_rows(
            lambda b, left, c: xp.sum(null_gain * c, axis=-3) + left * (b @ small),
            self.weights.factor,
            affinity.left[..., None],
            C,
        )
        if affinity.isolated is None:
            return out
        return xp.where(affinity.isolated[..., None], xp.sum(isolated_gain * C, axis=-3), out)

    def exact_core(self, response: Response) -> Array | None:
        r"""C of an exact filter, or None where the response is not smooth at λ = 1.

        :math:`C = p(0) J + J F p_1(F^T J F) F^T J` with p₁(x) = (p(x) − p(0))/x. Near x = 0, p₁ is
        evaluated by a series, so that nothing is divided by a small μ.
        """
        if getattr(response, "points", None) is not None:
            return None  # a tabulated response, known at eigenvalues only
        small = self.eigen
        mu = to_numpy(small.values)
        values_at = evaluate(response, np.append(np.clip(1 - mu, *self.affinity.limits), 1.0))
        local = _expand_at_zero(response, np.append(mu, 0.0), values_at)
        if local is None:
            return None
        inside = np.abs(mu) <= local.radius
        safe = np.where(inside, 1.0, mu)
        values = np.where(
            inside,
            npcheb.chebval(np.where(inside, mu, 0.0) / local.radius, local.series),
            ((values_at[:-1] - values_at[-1]) / safe - local.p0) / safe,
        )
        tall = small.core @ small.root @ small.vectors
        return local.p0 * small.core + (tall * like(values, tall)[..., None, :]) @ tall.mT


@dataclass(frozen=True, eq=False)
class SmallEigen:
    """Eigenpairs of S in m × m matrices: G = F Fᵀ and the eigenpairs (μ, w) of Fᵀ J F.

    Eigenvectors of S are B J F w / μ; they are not computed.
    """

    core: Array
    root: Array
    values: Array
    vectors: Array

    @classmethod
    def of(cls, G: Array, J: Array) -> SmallEigen:
        """Factor G and diagonalise Fᵀ J F."""
        root = _root(G)
        middle = root.mT @ J @ root
        values, vectors = namespace(G).linalg.eigh((middle + middle.mT) / 2)
        return cls(J, root, values, vectors)

    def heads(self, columns: slice) -> Array:
        """Return H = J F w / μ, with which B H are eigenvectors of S."""
        return (
            self.core @ self.root @ self.vectors[..., :, columns] / self.values[..., None, columns]
        )


def _root(G: Array) -> Array:
    """Factor G = F Fᵀ to rounding by Cholesky, or by eigenvectors if G is rank-deficient."""
    if is_numpy(G) and G.ndim == 2:
        factor, failed = dpotrf(G, lower=True, clean=True)
        if not failed:
            return factor
    xp = namespace(G)
    e, E = xp.linalg.eigh(G)
    return E * xp.sqrt(xp.clip(e, min=0))[..., None, :]


@dataclass(frozen=True, eq=False)
class Expansion:
    """f near μ = 0: p(0), and p₁ as a Chebyshev series in x / radius."""

    radius: float
    p0: float
    series: np.ndarray


SAMPLES = 32  # coefficients of the series of an expansion


@cache
def _divided() -> np.ndarray:
    """Return the matrix that maps Chebyshev coefficients of q to those of (q − q(0))/x."""
    rows = [npcheb.chebdiv(unit, [0, 1])[0] for unit in np.eye(SAMPLES)]
    return np.stack([np.pad(row, (0, SAMPLES - len(row))) for row in rows], axis=1)


def _expand_at_zero(response: Response, mu: np.ndarray, values: np.ndarray) -> Expansion | None:
    """Expand f over the widest radius that resolves it; return None where f is not smooth.

    The expansion is also compared with f at the eigenvalues and at 0, to detect a feature that is
    narrower than the distance of the samples.
    """
    jumps = getattr(response, "jumps", ())
    scale = float(np.abs(values).max())
    for radius in (0.5, 0.1, 0.02, 0.004, 0.0008):
        if any(abs(jump - 1) <= radius for jump in jumps):
            continue
        c = interpolation_coefficients(evaluate(response, 1 - radius * nodes(SAMPLES)))
        size = max(scale, float(np.abs(c).max()))
        inside = np.abs(mu) <= radius
        miss = np.abs(npcheb.chebval(mu[inside] / radius, c) - values[inside]).max()
        if max(np.abs(c[-6:]).max(), miss / 16) <= 16 * EPS * size:
            p = _divided() @ c / radius
            return Expansion(radius, float(npcheb.chebval(0.0, p)), _divided() @ p / radius)
    return None


def polynomial_core(G: Array, J: Array, family: Family) -> tuple[Array, np.ndarray]:
    r"""Return C of Chebyshev series of B J Bᵀ, (F, m, m), and their values at μ = 0, (F,).

    By :func:`~gspnl.chebyshev.recurrence.small_terms` with P = B J and Q = B.
    """
    theta = family.coefficients
    eye = like(np.eye(G.shape[-1]), G)
    GJ, weight = G @ J, like(theta[:, :, None, None], G)
    total, null_gain = 0 * weight[:, 0, ...] * eye, theta[:, 0]
    small = small_terms(partial(matmul, GJ), eye, theta.shape[1] - 1, *scales(family.interval))
    for k, (t, R) in enumerate(small, 1):
        total = total + weight[:, k, ...] * R
        null_gain = null_gain + theta[:, k] * t
    return J @ total, null_gain
