"""Segment a photo by k-means on its slowest modes, and map modes to colours."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

SAMPLE = 8192  # pixels on which the segments are found
STARTS = 4  # runs of k-means, of which the best is kept
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
        Share of the nodes in each segment, descending, above 0.
    colours : array of shape (m, 3)
        Mean RGB of each segment.
    """

    labels: np.ndarray
    shares: np.ndarray
    colours: np.ndarray

    def innermost(self, label: int, shape: tuple[int, int]) -> int:
        """The node of a segment that is farthest from any pixel outside it."""
        from scipy.ndimage import distance_transform_edt

        inside = np.pad(
            (self.labels == label).reshape(shape), 1
        )  # the border of the photo counts as outside
        depth = np.asarray(distance_transform_edt(inside))[1:-1, 1:-1]
        return int(depth.argmax())


def segment(modes: np.ndarray, colours: np.ndarray, seed: int) -> Segments:
    """Cluster the nodes by k-means on their values in the slowest modes.

    The clusters are found on a sample of the nodes; every node is then assigned to the nearest.

    Parameters
    ----------
    modes : array of shape (N, k)
        The slowest modes without the constant one; there are at most k + 1 segments.
    colours : array of shape (N, 3)
    seed : int
    """
    from scipy.cluster.vq import kmeans2, vq

    rng = np.random.default_rng(seed)
    n, k = modes.shape
    # Without rounding, k-means would separate pixels that differ by rounding errors only.
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

    Each mode is stretched between its 2 % and 98 % quantiles. The colours are those of Okabe and
    Ito, which colour-blind readers can distinguish.

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
