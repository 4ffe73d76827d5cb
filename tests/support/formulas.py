"""Plain dense formulas, the reference of every fast path, independent of gspnl."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse.csgraph
import scipy.spatial
import scipy.stats

MAPS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(0, x),
    "elu1": lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))),
    "square": lambda x: x**2,
    "exp": np.exp,
}

FORMULAS = {}  # name → M(X, **options) of kernels that a test registers


def affinity(kernel, X, embed=None, **options):
    """Compute M entry by entry, as docs/mathematics.md defines it, in float64."""
    X = np.asarray(X, dtype=np.float64)
    if kernel in FORMULAS:
        return FORMULAS[kernel](X, **options)
    n = len(X)
    phi, psi = (X, X) if embed is None else (X @ embed[0], X @ embed[1])
    M = np.empty((n, n))
    if kernel == "anchors":
        c, sigma = np.asarray(options["points"], dtype=np.float64), options["sigma"]
        squares = scipy.spatial.distance.cdist(X, c) ** 2
        if sigma == "adaptive":  # the 8th nearest anchor has 1/50 of the weight of the nearest
            near = np.sort(squares, axis=1)
            Z = 50.0 ** -((squares - near[:, :1]) / (near[:, 7:8] - near[:, :1]))
        else:
            Z = np.exp(-squares / (2 * sigma**2))
        Z /= Z.sum(1, keepdims=True)
        return Z @ np.diag(1 / Z.sum(0)) @ Z.T
    if kernel == "rbf" and isinstance(options.get("sigma"), str):
        D = scipy.spatial.distance.cdist(X, X)
        sigma = bandwidths(D, options["sigma"])
        return np.exp(
            -(D**2)
            / (2 * sigma[:, None] * (sigma[:, None] if options["sigma"] == "adaptive" else sigma))
        )
    for i in range(n):
        if kernel == "dot":
            h = MAPS[options.get("feature_map", "relu")]
            M[i] = (h(phi[i]) * h(psi)).sum(-1)
        elif kernel == "gaussian":
            M[i] = np.exp((X[i] * X).sum(-1))
        elif kernel == "embedded_gaussian":
            M[i] = np.exp((phi[i] * psi).sum(-1) / options.get("temperature", 1.0))
        elif kernel == "rbf":
            M[i] = np.exp(-((X[i] - X) ** 2).sum(-1) / (2 * options.get("sigma", 1.0) ** 2))
        elif kernel == "cosine":
            norms = np.linalg.norm(X, axis=-1)
            scale = norms[i] * norms
            cosine = np.where(scale > 0, (X[i] * X).sum(-1) / np.where(scale > 0, scale, 1), 0)
            M[i] = (1 + cosine) / 2
        elif kernel == "concatenation":
            M[i] = np.maximum(phi[i] + psi, 0)
        else:
            raise AssertionError(f"the oracle knows no kernel {kernel!r}; write its formula here")
    return M


def bandwidths(D, rule):
    """Compute σ of each node from all distances, by the definition in the docstring of RBF."""
    n = len(D)
    if rule == "median":
        pairs = D[np.triu_indices(n, 1)]
        middle = np.median(pairs)
        return np.full(n, middle if middle > 0 else np.median(pairs[pairs > 0]))
    k = {"local": 7, "adaptive": 15}[rule]
    reach = np.empty(n)
    for i in range(n):
        others = np.sort(np.delete(D[i], i))
        reach[i] = others[min(k, n - 1) - 1]
        if reach[i] == 0:
            reach[i] = others[others > 0][0]
    if rule == "local":
        return reach / 2
    reach = np.maximum(reach, np.median(reach))
    nodes = np.arange(n) if n <= 128 else np.random.default_rng(1).choice(n, 128, replace=False)

    def excess(c):
        counts = []
        for i in nodes:
            s = -(np.delete(D[i], i) ** 2) / (2 * (c * reach[i]) ** 2)
            counts.append(np.exp(scipy.stats.entropy(np.exp(s - s.max()))))
        return np.median(counts) - 30

    if excess(0.3) <= 0 or excess(0.1) >= 0:
        return 0.3 * reach
    return reach * scipy.optimize.brentq(excess, 0.1, 0.3, xtol=1e-13)


def weights(M, normalization, self_loops=True):
    """Compute W of an affinity M."""
    W = M if normalization in ("softmax", "chung") else (M + M.T) / 2
    W = W if self_loops else W - np.diag(np.diag(W))
    return chung(W) if normalization == "chung" else W


def stationary(A):
    """Compute π of an irreducible A, by elimination of one node after another."""
    A, n = np.array(A, dtype=np.float64), len(A)
    for k in range(n - 1, 0, -1):
        A[:k, k] /= A[k, :k].sum()
        A[:k, :k] += np.outer(A[:k, k], A[k, :k])
    pi = np.ones(n)
    for k in range(1, n):
        pi[k] = pi[:k] @ A[:k, k]
    return pi / pi.sum()


def chung(M):
    """Compute ½(ΠA + AᵀΠ) of A = D⁻¹M; nodes without any edges get rows of 0."""
    live = np.nonzero(M.sum(1) + M.sum(0))[0]
    part = M[np.ix_(live, live)]
    d = part.sum(1)
    parts, _ = scipy.sparse.csgraph.connected_components(part, connection="strong")
    assert (d > 0).all()
    assert parts == 1, f"{parts} classes: π has zeros, or is not unique"
    A = part / d[:, None]
    flow = stationary(A)[:, None] * A
    W = np.zeros_like(M)
    W[np.ix_(live, live)] = (flow + flow.T) / 2
    return W


def neighbor_weights(X, k, f, symmetrize="max", directed=False):
    """Compute W of a k-nearest-neighbour graph by sorting all distances.

    ``f`` maps the distances D (N, N) to the affinity M of all pairs.
    """
    D = scipy.spatial.distance.cdist(np.asarray(X, dtype=np.float64), X)
    M = f(D)
    np.fill_diagonal(D, np.inf)
    near = np.zeros(D.shape, dtype=bool)
    np.put_along_axis(near, np.argsort(D, axis=1)[:, :k], True, axis=1)
    if directed:
        return np.where(near, M, 0.0)
    M = (M + M.T) / 2
    if symmetrize == "mean":
        return M * (near.astype(float) + near.T) / 2
    return np.where(near | near.T if symmetrize == "max" else near & near.T, M, 0.0)


def local_rbf(neighbor):
    """Return the self-tuning affinity, σ_i half the distance to the neighbour of this rank."""

    def affinity_of(D):
        sigma = np.sort(D, axis=1)[:, neighbor] / 2  # after the node itself
        return np.exp(-(D**2) / (2 * sigma[:, None] * sigma[None, :]))

    return affinity_of


def normalized(W, normalization):
    """Return A = I − L and the diagonal of T, with A = T S T⁻¹ for its symmetric core S."""
    d = W.sum(1)
    if normalization == "combinatorial":
        return np.eye(len(W)) - (np.diag(d) - W), np.ones_like(d)
    live = d > 0
    safe = np.where(live, d, 1.0)
    if normalization in ("random_walk", "softmax", "chung"):
        left, right = live / safe, np.ones_like(d)
    elif normalization == "symmetric":
        left = right = live / np.sqrt(safe)
    else:
        s = live / np.sqrt(safe)
        for _ in range(100_000):  # s∘(W s) = 1, by the damped fixed point
            gap = s * (W @ s) - live
            if np.abs(gap).max() < 1e-14:
                break
            s = s * (1 - gap / 2)
        left = right = s
    A = left[:, None] * W * right + np.diag((~live).astype(float))
    change = np.sqrt(np.where(live, left / np.where(live, right, 1.0), 1.0))
    return A, change


def operator(W, normalization):
    """Compute the matrix of ``graph.apply``: A, or W where L = D − W."""
    return W if normalization == "combinatorial" else normalized(W, normalization)[0]


def size_of(lam):
    """Return the unit of λ: 1 up to [0, 2], else half the largest λ, for D − W of large weights."""
    return max(1.0, lam[-1] / 2)


def eigen(A, change):
    """Return (λ ascending, U, U⁻¹) of L = I − A, by its symmetric core."""
    S = A / change[:, None] * change
    # evd: LAPACK's evr returns vectors that are off by 1e-3 for some clustered eigenvalues.
    lam, V = scipy.linalg.eigh(np.eye(len(A)) - (S + S.T) / 2, driver="evd")
    return lam, change[:, None] * V, V.T / change


def dense_filter(A, change, g, Z):
    """Compute U g(Λ) U⁻¹ Z."""
    lam, U, inverse = eigen(A, change)
    return U @ (g(lam)[:, None] * (inverse @ Z))


def relative(value, truth):
    """Return the largest error, relative to the largest entry of the truth."""
    value, truth = np.asarray(value, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    assert value.shape == truth.shape, (value.shape, truth.shape)
    return np.abs(value - truth).max() / np.abs(truth).max()
