"""Choose the polynomial response of least estimated error for a noisy signal."""

from __future__ import annotations

import numpy as np

from gspnl._base.array import Array
from gspnl._base.blas import on_one_thread
from gspnl._base.effort import Progress, Work, takes_progress
from gspnl._base.validate import number, whole_number
from gspnl.chebyshev.series import Family, Series
from gspnl.filters.relative import unit_of
from gspnl.graph.graph import FeatureGraph, single_graph
from gspnl.signals.checks import symmetric
from gspnl.signals.risk import Noisy, Rebuild, Risk, dependence
from gspnl.signals.structure import warn_of_averaging

ORDER = 5
RANK = 1e-10  # relative size of eigenvalues that count
SHARES = (0.1, 1.0)  # of the least G that noise makes: all of it costs 0.5 dB for the right sigma


@takes_progress
@on_one_thread
def choose_response(
    graph: FeatureGraph,
    Z: Array,
    *,
    sigma: float,
    order: int = ORDER,
    rebuild: Rebuild | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Series:
    r"""Choose the polynomial response of least estimated error for noise of a known σ.

    Among the polynomials p of degree K with p(0) = 1, which keep the constant mode,
    :math:`F = Z + \sum_{1 \le k \le K} θ_k B_k` with :math:`B_k = (T_k(L - I) - (-1)^k) Z`.
    Stein's estimate of the squared error is a quadratic function of θ, whose minimum is

    .. math:: θ = -σ^2 G^+ δ, \quad G_{kl} = ⟨B_k, B_l⟩, \quad δ_k = \mathrm{div}\, B_k.

    Noise alone adds σ² M to G, :math:`M_{kl} = \mathrm{tr}\, J_k^T J_l` with the Jacobians J_k of
    B_k. If θ takes more from Z than N c σ², or than varies in Z, then σ is too large, and G is
    replaced by σ² M in those of their common eigenvectors where it is smaller, as in the positive
    part of the James-Stein estimator: the gains stay moderate for any σ.

    The divergences are estimated by Monte Carlo. They go through the graph where it was built from
    Z, as by :func:`gspnl.images.patch_graph`, or where ``rebuild`` is given.

    Parameters
    ----------
    graph : FeatureGraph
        One graph with a symmetric core.
    Z : array of shape (N, c), or (N,)
        One response is chosen for all columns.
    sigma : float
        Standard deviation of the noise, > 0, independent at all nodes and in all columns.
    order : int
        K ≥ 1. K numbers are fitted to N c ones; a K far below N c does not overfit.
    rebuild : callable, optional
        ``rebuild(Z) -> FeatureGraph``: how the graph follows from the signals. Default: as the
        graph itself knows it, if Z are the features it was built from; else the graph is taken as
        independent of the noise.
    seed : int
        Of the random directions.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    Series
        A response with gain 1 at λ = 0: ``graph.filter(Z, found)``.

    Raises
    ------
    NonsymmetricError
        For normalization="softmax".
    InputError
        For a batch, signals that do not fit, or a ``rebuild`` that returns no such graph.

    Warns
    -----
    DependenceWarning
        Where the features of the graph hold the noise of Z, and it is not known how.
    AveragingWarning
        Once for a graph that only averages (second λ above 0.8).

    References
    ----------
    Stein, C. M. (1981). Estimation of the mean of a multivariate normal distribution. Ramani, S.,
    Blu, T. and Unser, M. (2008). Monte-Carlo SURE. Blu, T. and Luisier, F. (2007). The SURE-LET
    approach to image denoising.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((500, 1))
    >>> clean = np.sin(6 * X[:, 0])
    >>> noisy = clean + 0.5 * rng.standard_normal(500)
    >>> graph = gspnl.feature_graph(X, kernel="rbf", sigma=0.05)
    >>> response = gspnl.choose_response(graph, noisy, sigma=0.5)
    >>> smooth = graph.filter(noisy, response)
    >>> bool(np.std(smooth - clean) < 0.35 * np.std(noisy - clean))
    True
    """
    symmetric(graph, "choose_response")
    single_graph(graph, "choose_response")
    noise = number("sigma", sigma, above=0)
    count = whole_number("order", order, 1)
    whole_number("seed", seed)
    signs = (-1.0) ** np.arange(1, count + 1)  # T_k(−1), at λ = 0
    basis = Family(np.concatenate([-signs[:, None], np.eye(count)], axis=1), (0.0, 2.0))
    with Work("the response of least risk"):
        noisy = Noisy.of(graph, Z, noise)
        risk = Risk.of(noisy, dependence(noisy, rebuild), seed)
        moments = risk.moments(basis)
    variance = noisy.sigma**2
    found = np.zeros(count)
    for share in SHARES:
        found = _least(
            moments.products, share * variance * moments.spread,
            -variance * moments.divergence, risk.rounding,
        )  # fmt: skip
        if found @ moments.products @ found <= min(risk.energy, risk.variation):
            break
    warn_of_averaging(graph, "choose_response")
    theta = np.concatenate([[1 - signs @ found], found])
    return Series(theta, (0.0, 2.0 * unit_of(graph.affinity)))


def _least(G: np.ndarray, M: np.ndarray, right: np.ndarray, floor: float) -> np.ndarray:
    """Solve max(G, M) θ = right, the larger one in each of their common eigenvectors.

    G + M becomes the identity I on the span of its eigenvectors that count, so that the pencil is
    that of G and I − G.
    """
    scale = np.sqrt(np.diag(G) + np.diag(M) + floor)
    size, Q = np.linalg.eigh((G + M + floor * np.eye(len(G))) / np.outer(scale, scale))
    live = size > RANK * size[-1]
    P = Q[:, live] / np.sqrt(size[live]) / scale[:, None]
    share, V = np.linalg.eigh(P.T @ (G + floor * np.eye(len(G))) @ P)
    P = P @ V
    return np.asarray(P @ (P.T @ right / np.maximum(share, 1 - share)))
