"""Anchor points as functions of the features they were placed on, for gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gspnl._base.array import Array, detached, like, namespace
from gspnl.errors import GspnlError


@dataclass(frozen=True, eq=False)
class Placement:
    """Anchors of one graph.

    Parameters
    ----------
    points : array of shape (r, C)
    sigma : float
        Root mean square distance of the sample to its nearest anchor.
    sample : array of int of shape (n,)
        Nodes that the anchors were placed on.
    nearest : array of int of shape (n,), or None
        Anchor of each node of the sample, which is the mean of its nodes; None where each anchor is
        a node.
    nodes : array of int of shape (r,), or None
        The nodes that the anchors are, else None.
    """

    points: np.ndarray
    sigma: float
    sample: np.ndarray
    nearest: np.ndarray | None = None
    nodes: np.ndarray | None = None

    def of(self, X: Array) -> tuple[Array, Array]:
        """Return (points, σ) with their gradients by the features X (N, C) of this placement.

        Lloyd's iteration ends in means of clusters, whose assignment has no derivative.
        """
        xp = namespace(X)
        sample = xp.take(X, xp.asarray(self.sample, device=X.device), axis=0)
        if self.nearest is None:
            points = xp.take(X, xp.asarray(self.nodes, device=X.device), axis=0)
            distances = sample - xp.mean(sample, axis=0, keepdims=True)
            square = xp.mean(distances * distances)
        else:
            members = np.eye(len(self.points))[:, self.nearest]
            counts = members.sum(1, keepdims=True)
            if not counts.all():
                raise GspnlError(
                    f"{int((counts == 0).sum())} of {len(counts)} anchors lost all their nodes, so "
                    "that they have no gradient; use fewer anchors= or another seed=, or detach "
                    "the features"
                )
            points = like(members / counts, X) @ sample
            distances = sample - xp.take(points, xp.asarray(self.nearest, device=X.device), axis=0)
            square = xp.mean(xp.sum(distances * distances, axis=-1))
        positive = square > 0  # else σ is a constant
        sigma = xp.sqrt(xp.where(positive, square, xp.ones_like(square)))
        return _with_values(self.points, points), _with_values(np.asarray(self.sigma), sigma)


def _with_values(values: np.ndarray, x: Array) -> Array:
    """Return ``values`` with the gradient of x."""
    return like(values, x) + (x - detached(x))


def differentiable(placed: list[Placement], X: Array) -> tuple[Array, Array]:
    """Return points (..., r, C) and σ (..., 1, 1) of a batch with gradients by X (..., N, C)."""
    xp, batch = namespace(X), X.shape[:-2]
    keys = np.ndindex(*batch)
    found = [one.of(X[(*key, ...)]) for one, key in zip(placed, keys, strict=True)]
    points = xp.stack([p for p, _ in found])
    sigmas = xp.stack([s for _, s in found])
    return xp.reshape(points, (*batch, *points.shape[1:])), xp.reshape(sigmas, (*batch, 1, 1))
