r"""Numerical range of C: the convex set :math:`W = \{x^* C x : \|x\| = 1\}`, by its support."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.optimize import minimize_scalar

from gspnl.filters.directed.core import Part

ANGLES = 33  # directions from 0 to π; W of a real matrix is symmetric about the real axis
BLOCK = 16  # columns that join the basis in one step
SMALL = 65  # nodes up to which the basis is complete
COMPLETE = 512  # nodes up to which it becomes complete where angles do not converge
WIDEST = 384  # columns of the basis, at most
TOL = 1e-9
NOISE = 64 * float(np.finfo(np.float64).eps)  # of products of B, whose norm is 1


@dataclass(frozen=True, eq=False)
class NumericalRange:
    r"""Numerical range of C by tangents and boundary points.

    Attributes
    ----------
    angles : array of shape (m,)
        θ, from 0 to π.
    support : array of shape (m,)
        :math:`h(θ) = \max_{z \in W} \operatorname{Re}(e^{-iθ} z)`, the largest eigenvalue of
        :math:`½(e^{-iθ} C + e^{iθ} C^T)`.
    points : complex array of shape (m,)
        The points of W where these are taken.
    radius : float
        Numerical radius, max |z|.
    residual : float
        The largest residual of the m eigenpairs, a bound of the distance to an eigenvalue.
    converged : bool
    """

    angles: np.ndarray
    support: np.ndarray
    points: np.ndarray
    radius: float
    residual: float
    converged: bool

    @property
    def boundary(self) -> np.ndarray:
        """Boundary points all around, anticlockwise from the rightmost one."""
        return np.concatenate([self.points, self.points[-2:0:-1].conj()])


def numerical_range(
    part: Part, start: np.ndarray, seed: int = 0, angles: int = ANGLES
) -> NumericalRange:
    """Compute the numerical range of C, for all angles in one growing basis.

    The basis V is closed under neither C nor Cᵀ; each step adds the residuals of the angles that
    have not converged. Eigenvalues on V are lower bounds, exact where V is complete.

    Parameters
    ----------
    part : Part
    start : array of shape (N, m)
        Vectors to begin with, such as singular vectors.
    seed : int
    angles : int
        Directions from 0 to π; 1 for the direction 0 alone.
    """
    n, root = part.n, part.root
    directions = np.linspace(0, math.pi, angles) if angles > 1 else np.zeros(1)
    if n <= SMALL or start.shape[1] >= n - 1:
        V = scipy.linalg.null_space(root.T)
    else:
        extra = np.random.default_rng(seed).standard_normal((n, BLOCK))
        V = _orthonormal(np.hstack([start, extra]), np.zeros((n, 0)), root)
    X, Y = part.apply(V), part.transpose(V)
    while True:
        G = V.T @ X
        values, vectors = _tops(G, directions)
        turn = np.exp(-1j * directions)
        R = (X @ vectors) * turn + (Y @ vectors) * turn.conj()
        R = R / 2 - (V @ vectors) * values
        residuals = np.linalg.norm(R, axis=0)
        scale = max(float(np.abs(values).max()), float(np.abs(G).max(initial=0.0)))
        open_ = residuals > TOL * scale + NOISE
        left = n - 1 - V.shape[1]
        if not open_.any() or left <= 0 or (V.shape[1] >= WIDEST and n > COMPLETE):
            break
        if V.shape[1] >= min(WIDEST, n // 2) and n <= COMPLETE:  # the eigenvalues lie close
            V = scipy.linalg.null_space(root.T)
            X, Y = part.apply(V), part.transpose(V)
            continue
        wanted = R[:, open_] / residuals[open_]
        left_vectors, weight, _ = np.linalg.svd(
            np.hstack([wanted.real, wanted.imag]), full_matrices=False
        )
        more = left_vectors[:, : min(BLOCK, left, int((weight > 1e-8 * weight[0]).sum()))]
        new = _orthonormal(more, V, root)
        V = np.hstack([V, new])
        X, Y = np.hstack([X, part.apply(new)]), np.hstack([Y, part.transpose(new)])
    points = np.einsum("ij,ij->j", vectors.conj(), G @ vectors)
    residual = 0.0 if V.shape[1] >= n - 1 else float(residuals.max())
    converged = bool(V.shape[1] >= n - 1 or not open_.any())
    return NumericalRange(
        directions, values, points, _radius(G, directions, values), residual, converged
    )  # fmt: skip


def _tops(G: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalue of ½(e^{-iθ} G + e^{iθ} Gᵀ) at each angle, with its vector."""
    m = len(G)
    values, vectors = np.empty(len(angles)), np.empty((m, len(angles)), complex)
    for j, angle in enumerate(angles):
        turned = np.exp(-1j * angle) * G
        value, vector = scipy.linalg.eigh(
            (turned + turned.conj().T) / 2, subset_by_index=[m - 1, m - 1]
        )
        values[j], vectors[:, j] = value[0], vector[:, 0]
    return values, vectors


def _radius(G: np.ndarray, angles: np.ndarray, values: np.ndarray) -> float:
    """Return the largest support over all angles: the numerical radius."""
    if len(angles) == 1:
        return max(0.0, float(values[0]))
    best = int(values.argmax())
    step = angles[1] - angles[0]
    ends = max(0.0, angles[best] - step), min(math.pi, angles[best] + step)
    found = minimize_scalar(
        lambda angle: -_tops(G, np.array([angle]))[0][0], bounds=ends, method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    return max(0.0, float(values.max()), -float(found.fun))


def _orthonormal(block: np.ndarray, V: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of a block, orthogonal to V and √π."""
    for _ in range(3):
        block = block - root * (root.T @ block)
        block = block - V @ (V.T @ block)
        block, _ = np.linalg.qr(block)
    return block
