"""Anchors kernel: nodes joined through r anchor points; its weights are bistochastic."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gspnl._base.array import (
    Array,
    carries_gradient,
    check_fits,
    constant,
    detached,
    eps,
    float64,
    has_float64,
    like,
    namespace,
)
from gspnl._base.rows import sum_rows
from gspnl._base.validate import number, whole_number
from gspnl.affinity.kernels.base import KERNELS, Kernel
from gspnl.affinity.kernels.placement import Placement, differentiable
from gspnl.affinity.kernels.scores import DIGITS, squared_distances
from gspnl.errors import InputError

SAMPLE = 4096  # nodes on which the anchor points are placed
NEAR, RATIO = 8, 50  # for sigma="adaptive"; docs/results/ten_data_sets.md
TIES = 64  # rounding errors of scores within which they are equal
ROUNDS = 25  # Lloyd iterations; on photos the quantisation error changes by < 1 % after 15


@KERNELS.register("anchors")
@dataclass(frozen=True)
class Anchors(Kernel):
    r"""Affinity through anchor points, :math:`W = Z\,\mathrm{diag}(Z^T 1)^{-1} Z^T`.

    Row i of :math:`Z` is the softmax over the anchors of :math:`-\|x_i - c_a\|^2 / 2σ^2`. W has
    rank at most r, is positive semi-definite, and its rows and columns sum to 1: with every
    normalisation it meets the assumptions of the paper's Theorem 1. Gradients include those
    of the anchor points and of σ; the assignment of nodes to clusters has none.

    Parameters
    ----------
    anchors : int
        r ≥ 1, the number of anchor points: k-means centres of a sample of the nodes; at most N.
    sigma : float or "adaptive", optional
        σ > 0 in the units of the features; default: the root mean square distance of the sample
        to its nearest anchor. "adaptive": a σ for each node, such that its 8th nearest anchor has
        1/50 of the weight of the nearest one (the nearest that is farther, where 8 are equally
        near), constant for gradients: about two to four anchors count, in any number of columns.
    seed : int
        Seed of the sample and of k-means.

    References
    ----------
    .. [1] W. Liu, J. He and S.-F. Chang, Large graph construction for scalable semi-supervised
       learning, ICML 2010.
    """

    anchors: int = 64
    sigma: float | str | None = None
    seed: int = 0
    _points: Array = field(default=None, repr=False, compare=False)  # (..., r, C)
    _sigmas: Array = field(default=None, repr=False, compare=False)  # (..., 1, 1)
    _masses: Array = field(default=None, repr=False, compare=False)  # (..., 1, r)
    _direct: bool = field(default=False, repr=False, compare=False)  # distances by differences

    def __post_init__(self) -> None:
        whole_number("anchors", self.anchors, 1)
        whole_number("seed", self.seed)
        if isinstance(self.sigma, str) and self.sigma != "adaptive":
            raise InputError(
                f"sigma={self.sigma!r} must be a finite number > 0, or 'adaptive', for anchors"
            )
        if self.sigma is not None and self.sigma != "adaptive":
            number("sigma", self.sigma, above=0)

    def fit(self, X: Array) -> Anchors:
        """Place the anchors on X (..., N, C), graph by graph, and sum their columns of Z."""
        xp = namespace(X)
        batch = X.shape[:-2]
        check_fits(
            (*X.shape[:-1], min(self.anchors, X.shape[-2])),
            X,
            "the anchors' factor",
            "use fewer",
            copies=2,
        )
        values = constant(X)
        count = min(self.anchors, X.shape[-2])
        placed = [placement(values[i], count, self.seed) for i in np.ndindex(*batch)]
        points = np.stack([p.points for p in placed]).reshape(*batch, count, X.shape[-1])
        given = None if isinstance(self.sigma, str) else self.sigma
        sigmas = np.reshape([given or p.sigma for p in placed], (*batch, 1, 1))
        if carries_gradient(X):
            points, spreads = differentiable(placed, X)
            sigmas = sigmas if given else spreads
        ready = replace(self, _points=like(points, X), _sigmas=like(sigmas, X))
        if not ready._error(X) <= DIGITS[eps(X)]:
            wide = float64(X) if has_float64(X) else X
            ready = replace(self, _points=like(points, wide), _sigmas=like(sigmas, wide))
            if not ready._error(wide) <= DIGITS[eps(X)]:
                ready = replace(ready, _direct=True)
        (masses,) = sum_rows(lambda x: (xp.sum(ready.assign(x), axis=-2, keepdims=True),), X)
        return replace(ready, _masses=like(masses, X))

    def assign(self, X: Array) -> Array:
        """Compute Z, the softmax over the anchors: (..., N, C) → (..., N, r)."""
        xp = namespace(X)
        wide = like(X, self._points)
        if self._direct:
            unit = 2.0 ** xp.round(xp.log2(self._sigmas))  # keeps all digits
            squares = squared_distances(wide / unit, self._points / unit)
            score = squares / (-2 * (self._sigmas / unit) ** 2)
        else:
            x, c = self._centred(wide)
            score = x @ c.mT - xp.sum(c * c, axis=-1)[..., None, :] / 2
        score = score - xp.max(score, axis=-1, keepdims=True)
        if self.sigma == "adaptive":
            score = score / like(_scale(constant(score)), score)
        raised = xp.exp(like(score, X))
        return raised / xp.sum(raised, axis=-1, keepdims=True)

    def _centred(self, X: Array) -> tuple[Array, Array]:
        """Return features and anchors relative to the anchors' mean, in units of σ."""
        share = 2.0 ** -self._points.shape[-2].bit_length()  # keeps the sum in the range
        centre = namespace(X).mean(self._points * share, axis=-2, keepdims=True) / share
        return (X - centre) / self._sigmas, (self._points - centre) / self._sigmas

    def _error(self, X: Array) -> float:
        """Bound the rounding error of ⟨x, c⟩ − ‖c‖²/2."""
        with np.errstate(over="ignore", invalid="ignore"):
            x, c = (np.sqrt((constant(p) ** 2).sum(-1)).max(-1) for p in self._centred(detached(X)))
            return float((x * c + c * c / 2).max()) * eps(X)

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        if self._masses is None:
            raise InputError("this anchors kernel has no anchor points yet; call fit(X) first")
        xp = namespace(X)
        # An anchor far from every node has mass 0 and no edges.
        mass = xp.where(self._masses > 0, self._masses, xp.ones_like(self._masses))
        points = self.assign(X) / xp.sqrt(mass)
        return points, points


def _scale(scores: np.ndarray) -> np.ndarray:
    """Return what scores ≤ 0, (..., N, r), are divided by so that the NEAR-th is −log(RATIO)."""
    kth = -np.partition(scores, -min(NEAR, scores.shape[-1]), axis=-1)[
        ..., -min(NEAR, scores.shape[-1]), None
    ]
    # Equally near anchors differ by rounding.
    floor = TIES * float(np.finfo(scores.dtype).eps) * -scores.min(axis=-1, keepdims=True)
    tied = kth <= floor
    if tied.any():
        farther = np.min(-scores, axis=-1, keepdims=True, initial=np.inf, where=-scores > floor)
        kth = np.where(tied, np.where(np.isfinite(farther), farther, 1.0), kth)
    out: np.ndarray = kth / math.log(RATIO)
    return out


def placement(X: np.ndarray, count: int, seed: int) -> Placement:
    """Place anchors on X (N, C) by k-means of a sample."""
    from scipy.cluster.vq import kmeans2  # not needed by any other kernel

    rng = np.random.default_rng(seed)
    n = X.shape[0]
    nodes = rng.choice(n, SAMPLE, replace=False) if n > SAMPLE else np.arange(n)
    sample = X[nodes] if n > SAMPLE else X
    # Sums and squares of huge or tiny features leave the range.
    power = math.frexp(float(np.abs(sample).max()))[1]
    sample = np.ldexp(sample.astype(np.float64), -power)
    middle = sample.mean(0)
    unit = float(np.abs(sample - middle).max()) or 1.0
    sample = (sample - middle) / unit

    def back(x: Any) -> Any:
        return np.ldexp(x, power)

    distinct, first = np.unique(sample, axis=0, return_index=True)
    if count >= len(distinct):
        points, chosen = np.resize(distinct, (count, X.shape[1])), np.resize(nodes[first], count)
        spread = float(sample.std()) or 1.0
        return Placement(
            back(middle + unit * points), float(back(unit * spread)), nodes, nodes=chosen
        )
    with warnings.catch_warnings():  # an emptied cluster keeps its old centre: harmless here
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        start = _plus_plus(sample, count, rng)
        points, nearest = kmeans2(sample, start, iter=ROUNDS, minit="matrix")
    spread = float(np.sqrt(((sample - points[nearest]) ** 2).sum(-1).mean())) or 1.0
    return Placement(back(middle + unit * points), float(back(unit * spread)), nodes, nearest)


def _plus_plus(sample: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw centres one after another, in proportion to squared distances to those drawn so far.

    k-means++ as SciPy's kmeans2 draws it, which computes all distances again for each centre.
    """
    chosen = [int(rng.integers(len(sample)))]
    squares = np.full(len(sample), np.inf)
    while len(chosen) < count:
        np.minimum(squares, squared_distances(sample[chosen[-1:]], sample)[0], out=squares)
        shares = (squares / squares.sum()).cumsum()
        chosen.append(int(np.searchsorted(shares, rng.uniform())))
    return sample[chosen]
