"""Row-stochastic matrices that are not symmetric, with dense formulas of their spectra."""

from __future__ import annotations

import numpy as np


def rows_to_one(W):
    return W / W.sum(1, keepdims=True)


def softmax(S):
    return rows_to_one(np.exp(S - S.max(1, keepdims=True)))


def attention(rng, n, scale=1.0, rank=6):
    """Draw softmax attention of random queries and keys."""
    q, k = rng.standard_normal((2, n, rank))
    return softmax(scale * q @ k.T)


def sink(rng, n):
    """Draw attention that goes to token 0 mostly."""
    S = rng.standard_normal((n, n))
    S[:, 0] += 4.0
    return softmax(S)


def cycle(n):
    return np.roll(np.eye(n), 1, axis=1)


def lazy(rng, n):
    """Draw a directed walk that mostly stays."""
    return 0.8 * np.eye(n) + 0.2 * attention(rng, n)


def bipartite(rng, n):
    """Draw a walk between two halves: period 2."""
    half = n // 2
    W = np.zeros((n, n))
    W[:half, half:] = rng.random((half, n - half)) + 0.1
    W[half:, :half] = rng.random((n - half, half)) + 0.1
    return rows_to_one(W)


def sparse(rng, n):
    """Draw a strongly connected directed graph: a cycle and random edges."""
    return rows_to_one(np.roll(np.eye(n), 1, axis=1) + (rng.random((n, n)) < 3 / n))


def birth_death(rng, n):
    """Draw a chain whose steps go one node up or down: reversible."""
    up, down = rng.random((2, n - 1)) + 0.2
    return rows_to_one(np.diag(up, 1) + np.diag(down, -1) + np.diag(rng.random(n)))


def causal(rng, n):
    return softmax(np.where(np.tri(n, dtype=bool), rng.standard_normal((n, n)), -np.inf))


def stationary(A):
    """Solve πᵀA = πᵀ, Σπ = 1 by least squares, refined by products with A + I."""
    n = len(A)
    system = np.vstack([A.T - np.eye(n), np.ones(n)])
    pi = np.abs(np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0])
    for _ in range(50):
        pi = (pi + pi @ A) / 2
    return pi / pi.sum()


def similar(A, pi):
    """B = Π^½ A Π^-½."""
    root = np.sqrt(pi)
    return root[:, None] * A / root


def off_constant(A, pi):
    """B on an orthonormal basis of the complement of √π, (N − 1, N − 1)."""
    full = np.linalg.qr(np.hstack([np.sqrt(pi)[:, None], np.eye(len(A))]))[0]
    V = full[:, 1 : len(A)]
    return V.T @ similar(A, pi) @ V


def largest_moduli(A):
    return np.sort(np.abs(np.linalg.eigvals(A)))[::-1]


DRAWS = {
    "attention": attention,
    "sharp": lambda rng, n: attention(rng, n, 2.5),
    "sink": sink,
    "lazy": lazy,
    "sparse": sparse,
    "bipartite": bipartite,
    "birth_death": birth_death,
    "dirichlet": lambda rng, n: rng.dirichlet(np.full(n, 0.3) + 0.05, n),
}
