"""Compute π of a graph: in closed form where it is reversible, else by the cheapest way."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from gspnl._base.array import Array, constant64, eps
from gspnl.affinity.affinity import Affinity
from gspnl.affinity.normalization import inverse
from gspnl.affinity.products import AffinityProducts
from gspnl.affinity.stationary.closed_classes import closed_classes, closed_classes_of, single_class
from gspnl.affinity.stationary.distribution import stationary_distribution
from gspnl.affinity.stationary.entries import ELIMINATED, eliminated
from gspnl.affinity.stationary.gradient import with_gradient
from gspnl.affinity.stationary.krylov import COUNTED
from gspnl.affinity.weights import LowRank
from gspnl.errors import InputError


def stationary_of(affinity: Affinity) -> Array:
    """Compute π of one graph, (N,), in its library and dtype, whatever its storage."""
    if not affinity.row_stochastic:
        raise InputError(
            "normalization='symmetric' gives rows that do not sum to 1, so A is not a random walk "
            "and has no stationary distribution; use normalization='random_walk', which has the "
            "same weights and λ, and π = d/Σd"
        )
    products = AffinityProducts(affinity)
    if affinity.symmetric_core:
        _require_connected(affinity, products)
        mass = inverse(affinity.left)
        if affinity.right is not None:
            mass = mass * affinity.right
        return mass / affinity.xp.sum(mass)
    if not affinity.nonnegative:
        raise InputError(
            "this graph has, or may have, negative weights, so A is not a random walk and has no "
            "stationary distribution; pass np.maximum(W, 0), or feature_map='relu'"
        )
    return with_gradient(affinity, _directed(affinity, products))


def _directed(affinity: Affinity, products: AffinityProducts) -> np.ndarray:
    weights = affinity.weights
    if weights.sparse is not None:
        A = scipy.sparse.diags_array(constant64(affinity.left)) @ weights.sparse
        if affinity.isolated is not None:
            A = A + scipy.sparse.diags_array(constant64(affinity.isolated))
        return stationary_distribution(A.astype(np.float64))
    if isinstance(weights, LowRank) and affinity.isolated is None:
        found = _of_features(constant64(affinity.left), weights)
        if found is not None:
            return found
    if affinity.n_nodes <= ELIMINATED:
        return stationary_distribution(constant64(affinity.rows(affinity.xp.arange(products.n))))
    return stationary_distribution(products, eps(affinity.left))


def _require_connected(affinity: Affinity, products: AffinityProducts) -> None:
    """Raise where a symmetric W has several components, each a closed class."""
    if affinity.weights.sparse is not None:
        single_class(
            closed_classes(abs(affinity.weights.sparse) + scipy.sparse.eye_array(products.n))
        )
        return
    classes = closed_classes_of(products, np.ones(products.n), COUNTED)
    single_class(classes, more=len(classes) == COUNTED)


def _of_features(left: np.ndarray, weights: LowRank) -> np.ndarray | None:
    """Compute π of diag(l) Φ Ψᵀ, ΦΨᵀ 1 = 1/l, by the chain of its r features; None if signed.

    A step from node to node is one from a node to a feature, by l_i φ_ik p_k with p = Ψᵀ1, and on
    to a node, by ψ_jk / p_k. Features are a chain of their own, and its closed classes are those of
    the nodes.
    """
    B, core = constant64(weights.factor), constant64(weights.core)
    width = B.shape[-1] // 2
    if not np.array_equal(core, np.eye(2 * width, k=width)) or (B < 0).any():
        return None
    phi, psi = B[:, :width], B[:, width:]
    sums = psi.sum(0)
    used = sums > 0
    to_nodes = psi[:, used] / sums[used]
    T = to_nodes.T @ (left[:, None] * phi[:, used] * sums[used])
    features = closed_classes(T)
    if len(features) != 1:
        single_class([np.nonzero(to_nodes[:, part].any(1))[0] for part in features])
    found: np.ndarray = to_nodes @ eliminated(T)
    found /= found.sum()
    return found
