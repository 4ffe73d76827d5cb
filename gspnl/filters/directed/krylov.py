"""Block Krylov–Schur iteration: eigenvalues of largest modulus of a real operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dgees

EPS = float(np.finfo(np.float64).eps)
STEPS = 400  # blocks after which an iteration gives up
WIDEST = 32  # columns of a block, at most
ROOM, BYTES = 24, 1 << 28  # blocks and bytes of a basis before it is restarted
GROWTH = 1.2  # ratio of the sizes of a basis at two looks at its Ritz values
Operator = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Leading:
    """Eigenvalues of largest modulus, with a basis of their invariant subspace.

    Attributes
    ----------
    eigenvalues : complex array of shape (k,)
        By descending modulus, conjugate pairs side by side and whole.
    basis : array of shape (N, m)
        Orthonormal; it contains the eigenvectors.
    residual : float
        The largest ‖M x − μ x‖ of a unit vector x.
    converged : bool
    products : int
        Blocks that M was applied to.
    """

    eigenvalues: np.ndarray
    basis: np.ndarray
    residual: float
    converged: bool
    products: int


def by_modulus(values: np.ndarray) -> np.ndarray:
    """Return the order of descending modulus in which conjugate pairs stay side by side."""
    size = np.round(np.abs(values), 12)
    return np.lexsort((-values.imag, np.abs(values.imag), -values.real, -size))


def whole_pairs(values: np.ndarray, k: int) -> int:
    """Return k, or k + 1 where a conjugate pair would be cut; ``values`` are sorted."""
    if k >= len(values):
        return len(values)
    return k + bool(values[k - 1].imag > 0)


def leading(
    apply: Operator,
    n: int,
    k: int,
    *,
    known: np.ndarray | None = None,
    tol: float,
    seed: int,
    steps: int = STEPS,
) -> Leading:
    r"""Find the k eigenvalues of largest modulus of a real operator M, (N, c) → (N, c).

    A block Krylov basis V with M V = V H + Q S grows until the k Ritz values of largest modulus
    have residuals ‖S y‖ of at most ``tol`` times the size of M. It is restarted from the sorted
    real Schur form of H (Stewart 2001). Blocks have k + 1 columns, up to 32, so that an eigenvalue
    is found as often as it occurs.

    Parameters
    ----------
    apply : callable
    n, k : int
    known : array of shape (N, m), optional
        Orthonormal columns; M acts on the complement of their span.
    tol : float
    seed : int
        Seed of the random start.
    steps : int
        Blocks after which it gives up.
    """
    known = np.zeros((n, 0)) if known is None else known
    whole = n - known.shape[1]  # the dimension of the space
    k = min(k, whole)
    if not k:
        return Leading(np.zeros(0, complex), np.zeros((n, 0)), 0.0, True, 0)
    width = min(max(k + 1, 4), WIDEST, whole)
    room = min(whole, max(min(ROOM * width, BYTES // (8 * n)), 3 * k + 2 * width))
    rng = np.random.default_rng(seed)
    V, H = np.zeros((n, 0)), np.zeros((0, 0))
    Q = _fresh(rng, V, known, width)
    S = np.zeros((width, 0))  # couples the next block to the basis
    look = k
    for step in range(1, steps + 1):
        image = apply(Q)
        image, _ = _orthogonal(image, known)
        heads_old = V.T @ image
        heads_new = Q.T @ image
        H = np.block([[H, heads_old], [S, heads_new]])
        V = np.hstack([V, Q])
        tail, more = _orthogonal(image - V @ np.vstack([heads_old, heads_new]), V)
        H[:, -Q.shape[1] :] += more
        Q, R = _next_block(
            tail, V, known, rng, min(width, whole - V.shape[1]), float(np.linalg.norm(H))
        )
        S = np.hstack([np.zeros((Q.shape[1], V.shape[1] - R.shape[1])), R])
        full = not Q.shape[1]
        crowded = full or step == steps or V.shape[1] + Q.shape[1] > room
        if V.shape[1] < look and not crowded:
            continue
        look = max(int(GROWTH * V.shape[1]), k + 1)
        values, vectors = np.linalg.eig(H)
        order = by_modulus(values)
        values, vectors = values[order], vectors[:, order]
        count = whole_pairs(values, k)
        residual = float(np.linalg.norm(S @ vectors[:, :count], axis=0).max(initial=0.0))
        scale = max(float(np.linalg.norm(H, 2)), np.finfo(float).tiny)
        done = full or (residual <= tol * scale and V.shape[1] > count)
        if done or step == steps:
            return Leading(values[:count], V, residual, done, step)
        if V.shape[1] + Q.shape[1] > room:
            V, H, S = _restart(V, H, S, values, count + max(2, (room - count) // 3))
    raise AssertionError


def _restart(
    V: np.ndarray, H: np.ndarray, S: np.ndarray, values: np.ndarray, keep: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the invariant subspace of the Ritz values of largest modulus."""
    size = np.sort(np.abs(values))[::-1]
    keep = min(keep, len(size) - 1)
    cut = (size[keep - 1] + size[keep]) / 2

    def pick(re: float, im: float = 0.0) -> bool:
        return bool(np.hypot(re, im) >= cut)

    # scipy.linalg.schur raises where rounding moves an eigenvalue across the cut; here it may.
    T, kept, _, _, Z, _, _ = dgees(pick, H, sort_t=1)
    kept = min(max(kept, 1), len(T) - 1)
    if kept < len(T) and T[kept, kept - 1] != 0:
        kept += 1 if kept + 1 < len(T) else -1  # a conjugate pair stays whole
    return V @ Z[:, :kept], T[:kept, :kept], S @ Z[:, :kept]


def _orthogonal(block: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Remove from a block what lies in the span of an orthonormal basis."""
    heads = basis.T @ block
    return block - basis @ heads, heads


def _fresh(rng: np.random.Generator, V: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Draw random orthonormal columns orthogonal to V and ``known``."""
    block = rng.standard_normal((len(V), count))
    for _ in range(2):
        block, _ = _orthogonal(block, known)
        block, _ = _orthogonal(block, V)
        block, _ = np.linalg.qr(block)
    return block


def _next_block(
    tail: np.ndarray,
    V: np.ndarray,
    known: np.ndarray,
    rng: np.random.Generator,
    width: int,
    size: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Factor the tail as Q R; directions that vanish are replaced by random ones."""
    if not width:
        return np.zeros((len(V), 0)), np.zeros((0, tail.shape[1]))
    left, weight, right = np.linalg.svd(tail, full_matrices=False)
    live = int((weight[:width] > 64 * EPS * max(size, np.finfo(float).tiny)).sum())
    R = np.zeros((width, tail.shape[1]))
    R[:live] = weight[:live, None] * right[:live]
    Q = left[:, :live]
    for _ in range(2):  # small directions of the tail have lost their orthogonality
        Q, _ = _orthogonal(Q, known)
        Q, _ = _orthogonal(Q, V)
        if live:
            Q, turn = np.linalg.qr(Q)
            R[:live] = turn @ R[:live]
    if live < width:
        Q = np.hstack([Q, _fresh(rng, np.hstack([V, Q]), known, width - live)])
    return Q, R
