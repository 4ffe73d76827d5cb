r"""Functions of a low-rank graph through its Gram matrix: no QR, no inverse, no eigenvectors.

With :math:`W = B J B^T`, :math:`G = B^T diag(lr) B` (m × m) and f(μ) = g(1 − μ),

.. math::

    f(A) = f(0) I + diag(l)\, B\, C\, B^T diag(r), \quad C = J\,p(GJ), \quad
    p(x) = (f(x) - f(0))/x,

because :math:`S^k = B J (GJ)^{k-1} B^T`. Two passes over B for any f; a rank-deficient B is
harmless.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev as npcheb
from scipy.linalg.lapack import dpotrf

from gspnl._base.array import Array, float64, is_numpy, like, namespace, to_numpy, transpose
from gspnl._base.rows import map_rows, sum_rows
from gspnl.affinity.affinity import Affinity, scale_rows
from gspnl.affinity.weights import LowRank
from gspnl.chebyshev.recurrence import scales, small_terms
from gspnl.chebyshev.series import EPS, Family, interpolation_coefficients, nodes
from gspnl.responses import Response
from gspnl.responses.evaluate import evaluate


def gram(affinity: Affinity, weights: LowRank) -> Array:
    """G = Bᵀ diag(l r) B, (..., m, m), in float64."""
    return sweep(affinity, weights, weights.factor[..., :0])[0]


def sweep(affinity: Affinity, weights: LowRank, Z: Array) -> tuple[Array, Array]:
    """G, and Bᵀ diag(r) Z, in one pass over B; both in float64."""
    right = affinity.right
    both = affinity.left if right is None else affinity.left * right
    columns = [weights.factor, both[..., None], Z] + ([] if right is None else [right[..., None]])

    def block(b: Array, s: Array, z: Array, r: Array | None = None) -> tuple[Array, Array]:
        wide = transpose(b)
        return float64(wide @ (b * s)), float64(wide @ (z if r is None else r * z))

    G, heads = sum_rows(block, *columns)
    return G, heads


def project(affinity: Affinity, weights: LowRank, Z: Array) -> Array:
    """Bᵀ diag(r) Z, (..., m, c)."""
    return weights.heads(scale_rows(affinity.right, Z))


def expand(
    affinity: Affinity,
    weights: LowRank,
    middle: float | Array,
    alone: float | Array,
    core: Array,
    Z: Array,
    heads: Array | None = None,
) -> Array:
    """f(0) Z + diag(l) B C Bᵀ diag(r) Z, with ``alone`` · Z on isolated nodes.

    ``heads`` is Bᵀ diag(r) Z, where that is known already. Of several filters: ``core`` is
    (F, m, m), ``middle`` and ``alone`` are (F, 1, 1), Z is (..., 1, N, c).
    """
    heads = project(affinity, weights, Z) if heads is None else heads
    small = like(core @ float64(heads), Z)
    out = map_rows(
        lambda b, left, z: middle * z + left * (b @ small),
        weights.factor,
        affinity.left[..., None],
        Z,
        columns=math.prod(core.shape[:-2]) * Z.shape[-1],
    )
    if affinity.isolated is None:
        return out
    return namespace(Z).where(affinity.isolated[..., None], alone * Z, out)


def contract(
    affinity: Affinity,
    weights: LowRank,
    middle: Array,
    alone: Array,
    core: Array,
    C: Array,
    heads: Array | None = None,
) -> Array:
    """The sum over f of what :func:`expand` makes of C_f: (..., F, N, c) to (..., N, c)."""
    xp = namespace(C)
    heads = project(affinity, weights, C) if heads is None else heads
    small = like(xp.sum(core @ float64(heads), axis=-3), C)
    out = map_rows(
        lambda b, left, c: xp.sum(middle * c, axis=-3) + left * (b @ small),
        weights.factor,
        affinity.left[..., None],
        C,
    )
    if affinity.isolated is None:
        return out
    return xp.where(affinity.isolated[..., None], xp.sum(alone * C, axis=-3), out)


@dataclass(frozen=True, eq=False)
class SmallCore:
    """The m × m picture of S: G = F Fᵀ and the eigenpairs (μ, w) of Fᵀ J F.

    Eigenvectors of S are B J F w / μ; none is ever formed.
    """

    core: Array
    root: Array
    values: Array
    vectors: Array

    @classmethod
    def of(cls, G: Array, J: Array) -> SmallCore:
        xp = namespace(G)
        root = _root(G)
        middle = transpose(root) @ J @ root
        values, vectors = xp.linalg.eigh((middle + transpose(middle)) / 2)
        return cls(J, root, values, vectors)

    def heads(self, columns: slice) -> Array:
        """H with S-eigenvectors B H: J F w / μ."""
        return (
            self.core @ self.root @ self.vectors[..., :, columns] / self.values[..., None, columns]
        )


def _root(G: Array) -> Array:
    """F with F Fᵀ = G to rounding: Cholesky, or where G has no full rank its eigenvectors."""
    if is_numpy(G) and G.ndim == 2:
        factor, failed = dpotrf(G, lower=True, clean=True)
        if not failed:
            return factor
    xp = namespace(G)
    e, E = xp.linalg.eigh(G)
    return E * xp.sqrt(xp.clip(e, min=0))[..., None, :]


def exact_core(small: SmallCore, response: Response, limits: tuple[float, float]) -> Array | None:
    r"""C of an exact filter, or None where the response is not smooth at λ = 1.

    :math:`C = p(0) J + J F p_1(F^T J F) F^T J` with p₁(x) = (p(x) − p(0))/x, near x = 0 by series:
    the part of p that is a number is carried by J itself, so nothing is divided by a small μ.
    """
    if getattr(response, "points", None) is not None:
        return None  # known at points only
    mu = to_numpy(small.values)
    values_at = evaluate(response, np.append(np.clip(1 - mu, *limits), 1.0))
    local = _local(response, np.append(mu, 0.0), values_at)
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
    return local.p0 * small.core + (tall * like(values, tall)[..., None, :]) @ transpose(tall)


@dataclass(frozen=True, eq=False)
class Local:
    """f near μ = 0: p(0), and p₁ as a Chebyshev series in x / radius."""

    radius: float
    p0: float
    series: np.ndarray


SAMPLES = 32


@cache
def _divided() -> np.ndarray:
    """The matrix that takes Chebyshev coefficients of q to those of (q − q(0))/x."""
    rows = [npcheb.chebdiv(unit, [0, 1])[0] for unit in np.eye(SAMPLES)]
    return np.stack([np.pad(row, (0, SAMPLES - len(row))) for row in rows], axis=1)


def _local(response: Response, mu: np.ndarray, values: np.ndarray) -> Local | None:
    """The expansion of f over the widest radius that resolves it; None where f is not smooth.

    It must also meet f at the eigenvalues themselves, and at 0: a feature narrower than the samples
    is seen there.
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
            return Local(radius, float(npcheb.chebval(0.0, p)), _divided() @ p / radius)
    return None


def polynomial_core(G: Array, J: Array, family: Family) -> tuple[Array, np.ndarray]:
    r"""C of Chebyshev series on the operator B J Bᵀ, (F, m, m), and their values at μ = 0, (F,).

    By :func:`~gspnl.chebyshev.recurrence.small_terms` with P = B J and Q = B.
    """
    theta = family.coefficients
    eye = like(np.eye(G.shape[-1]), G)
    GJ, weight = G @ J, like(theta[:, :, None, None], G)
    total, middle = 0 * weight[:, 0, ...] * eye, theta[:, 0]
    small = small_terms(lambda R: GJ @ R, eye, theta.shape[1] - 1, *scales(family.interval))
    for k, (t, R) in enumerate(small, 1):
        total = total + weight[:, k, ...] * R
        middle = middle + theta[:, k] * t
    return J @ total, middle
