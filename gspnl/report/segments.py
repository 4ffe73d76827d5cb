"""What the leading modes see: a photo's segments and its false colours."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

SAMPLE = 8192  # pixels on which the segments are found
STARTS = 4  # of which the best is kept
ROUNDS = 30
LIGHTS = np.array([[0.0, 0.447, 0.698], [0.902, 0.624, 0.0], [0.8, 0.475, 0.655]])


@dataclass(frozen=True, eq=False)
class Segments:
    """A segmentation of N nodes, the largest segment first.

    Attributes
    ----------
    labels : array of int of shape (N,)
        In 0 … m − 1.
    shares : array of shape (m,)
        Of the nodes, descending, above 0.
    colours : array of shape (m, 3)
        Mean RGB.
    """

    labels: np.ndarray
    shares: np.ndarray
    colours: np.ndarray

    def innermost(self, label: int, shape: tuple[int, int]) -> int:
        """The node of a segment that is farthest from any pixel outside it."""
        from scipy.ndimage import distance_transform_edt

        inside = np.pad((self.labels == label).reshape(shape), 1)  # beyond the edge is outside
        depth = np.asarray(distance_transform_edt(inside))[1:-1, 1:-1]
        return int(depth.argmax())


def segment(modes: np.ndarray, colours: np.ndarray, seed: int) -> Segments:
    """K-means on the modes: pixels that diffusion mixes soonest go together.

    Parameters
    ----------
    modes : array of shape (N, k)
        The slowest modes but the constant one; k + 1 segments are looked for, in a sample.
    colours : array of shape (N, 3)
    seed : int
    """
    from scipy.cluster.vq import kmeans2, vq

    rng = np.random.default_rng(seed)
    n, k = modes.shape
    # Pixels that differ by rounding alone are the same: k-means would tell them apart.
    modes = np.round(modes / np.abs(modes).max(), 9)
    sample = modes[rng.choice(n, SAMPLE, replace=False)] if n > SAMPLE else modes
    wanted = min(k + 1, len(np.unique(sample, axis=0)))
    best, centres = np.inf, sample[:1]
    with warnings.catch_warnings():  # an emptied cluster is dropped below
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        for _ in range(STARTS if wanted > 1 else 0):
            points, nearest = kmeans2(sample, wanted, iter=ROUNDS, minit="++", rng=rng)
            cost = float(((sample - points[nearest]) ** 2).sum())
            if cost < best:
                best, centres = cost, points
    found = vq(modes, centres)[0]
    count = np.bincount(found, minlength=wanted)
    order = np.argsort(-count, kind="stable")[: int((count > 0).sum())]
    rank = np.empty(wanted, dtype=int)
    rank[order] = np.arange(len(order))
    labels = rank[found]
    size = count[order]
    means = [np.bincount(labels, column) / size for column in colours.T]
    return Segments(labels, size / n, np.stack(means, axis=1))


def false_colour(modes: np.ndarray) -> np.ndarray:
    """Mix three modes as light: the first blue, the second amber, the third pink.

    Each is stretched between its 2 % and 98 % quantiles. The colours are Okabe and Ito's, which the
    colour-blind tell apart too.

    Parameters
    ----------
    modes : array of shape (N, m), m ≤ 3

    Returns
    -------
    array of shape (N, 3), in [0, 1]
    """
    low, high = np.quantile(modes, [0.02, 0.98], axis=0)
    span = np.where(high > low, high - low, 1.0)
    return np.asarray(np.clip(np.clip((modes - low) / span, 0, 1) @ LIGHTS[: modes.shape[1]], 0, 1))
