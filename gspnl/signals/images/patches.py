"""Find the most similar patches of a photo within a window, strip by strip."""

from __future__ import annotations

import numpy as np

from gspnl._base.effort import work
from gspnl._base.rows import each_block

PAIR = 500  # operations of a matrix product in the time of one distance: measured
STRIP_BYTES = 24 << 20  # of the distances of a strip: one for each pixel and offset


def tent(size: int) -> np.ndarray:
    """Return the weights of a patch along one axis, which fall linearly and sum to 1.

    >>> tent(5)
    array([0.11111111, 0.22222222, 0.33333333, 0.22222222, 0.11111111])
    """
    box = np.ones((size + 1) // 2)
    weights = np.convolve(box, box)
    return np.asarray(weights / weights.sum())


def window_offsets(window: int) -> np.ndarray:
    """Return the (row, column) offsets of a window without its centre, (window² − 1, 2)."""
    reach = window // 2
    steps = np.arange(-reach, reach + 1)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    offsets = np.stack([rows.ravel(), columns.ravel()], axis=1)
    return offsets[offsets.any(axis=1)]


def nearest_patches(
    photo: np.ndarray, patch_size: int, window: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Find the k pixels of the window whose patches are most similar to each pixel's own.

    The distance of two patches is :math:`D_{ij} = \sum_o t_o \|y_{i+o} - y_{j+o}\|^2 / C`, with
    the tent weights t, which sum to 1, and the photo reflected at its edges.

    Parameters
    ----------
    photo : array of shape (H, W, C)
    patch_size, window : int
        Odd.
    k : int
        At most the number of pixels in the window of a corner, without the corner itself.

    Returns
    -------
    nodes, distances : arrays of shape (H W, k), int32 and float32
        By ascending node.
    """
    height, width, _ = photo.shape
    half, reach = patch_size // 2, window // 2
    margin = half + reach
    planes = np.moveaxis(photo, -1, 0).astype(np.float32)
    padded = np.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    offsets = window_offsets(window)
    nodes = np.empty((height * width, k), np.int32)
    distances = np.empty((height * width, k), np.float32)
    tall = max(1, STRIP_BYTES // (4 * len(offsets) * width))
    strips = [slice(i, min(i + tall, height)) for i in range(0, height, tall)]

    def search(strip: slice) -> None:
        D = _distances(padded, strip, offsets, half, reach)
        count = (strip.stop - strip.start) * width
        D = np.ascontiguousarray(D.reshape(len(offsets), count).T)
        best = np.sort(np.argpartition(D, k - 1, axis=1)[:, :k], axis=1)
        rows = slice(strip.start * width, strip.stop * width)
        distances[rows] = np.take_along_axis(D, best, axis=1)
        shifts = (offsets[:, 0] * width + offsets[:, 1]).astype(np.int32)
        nodes[rows] = shifts[best] + np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]

    pairs = float(height * width * len(offsets))
    what = f"similar patches of {height * width:,} pixels"
    with work(what, PAIR * pairs, len(strips), "use a smaller window=") as shown:
        for _ in each_block(search, strips):
            shown.done += 1
    return nodes, distances


def _distances(
    padded: np.ndarray, strip: slice, offsets: np.ndarray, half: int, reach: int
) -> np.ndarray:
    """Compute D of the pixels of a strip for all offsets, inf outside the photo: (m, n, W)."""
    channels, tall, wide = padded.shape
    margin = half + reach
    height, width = tall - 2 * margin, wide - 2 * margin
    n = strip.stop - strip.start
    scale = np.float32(1 / (channels * ((half + 1) ** 4)))
    inside = slice(strip.start + reach, strip.stop + reach + 2 * half)
    own = padded[:, inside, reach : wide - reach]
    D = np.empty((len(offsets), n, width), np.float32)
    first, second = np.empty_like(own[0]), np.empty_like(own[0])
    for m, (down, right) in enumerate(offsets):
        other = padded[
            :, inside.start + down : inside.stop + down, reach + right : wide - reach + right
        ]
        np.subtract(own[0], other[0], out=first)
        np.multiply(first, first, out=first)
        for c in range(1, channels):
            np.subtract(own[c], other[c], out=second)
            np.multiply(second, second, out=second)
            first += second
        out = first
        for box in (half + 1,) * 2:
            out = _sums(out, box, axis=1)
        for box in (half + 1,) * 2:
            out = _sums(out, box, axis=0)
        np.multiply(out, scale, out=D[m])
        _clear(D[m], strip.start, height, down, right)
    return D


def _sums(x: np.ndarray, box: int, axis: int) -> np.ndarray:
    """Sum ``box`` neighbouring entries along an axis, whose length shrinks by box − 1."""
    if axis == 1:
        return _sums(x.T, box, 0).T
    length = len(x) - box + 1
    total, done = np.zeros((), x.dtype), 0
    power, size = x, 1  # sums of ``size`` entries
    while True:
        if box & size:
            total = total + power[done : done + length]
            done += size
        if done == box:
            return total
        power = power[:-size] + power[size:]
        size *= 2


def _clear(D: np.ndarray, start: int, height: int, down: int, right: int) -> None:
    """Set D to inf where the other pixel lies outside the photo."""
    width = D.shape[1]
    D[: max(0, -down - start)] = np.inf
    D[max(0, height - down - start) :] = np.inf
    D[:, : max(0, -right)] = np.inf
    D[:, max(0, width - right) :] = np.inf
