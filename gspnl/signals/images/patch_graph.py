"""Build the sparse graph that joins pixels with similar patches within a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl._base.array import Array, check_fits
from gspnl._base.effort import Progress, takes_progress
from gspnl._base.memory import within_memory
from gspnl._base.validate import number, whole_number
from gspnl.affinity.kernels import Kernel
from gspnl.affinity.normalization import NORMALIZATIONS
from gspnl.errors import InputError
from gspnl.graph.graph import FeatureGraph
from gspnl.graph.neighbor_matrix import directed_matrix, symmetric_matrix, with_loops
from gspnl.graph.source import Source
from gspnl.graph.sparse_graph import sparse_graph
from gspnl.signals.images.noise import check_pixels, estimate_noise
from gspnl.signals.images.patches import nearest_patches

NEIGHBORS = 32
BANDWIDTH = 0.35  # σ of the weights by the noise: best or within 0.1 dB on five photos
FAR = 1e18  # ratio of numbers whose squares are in the range of float32
LONELY = 1e-4  # least weight of a pixel with itself, in units of the largest weight


@dataclass(frozen=True)
class Patches(Kernel):
    r"""Weights of patches, :math:`\exp(-\max(D_{ij} - 2ν^2, 0) / 2σ^2)`.

    Parameters
    ----------
    patch_size, window, k : int
        See :func:`patch_graph`.
    noise : float
        ν, as given or as estimated.
    sigma : float
    estimated : bool
        Whether the noise was estimated from the photo.
    """

    patch_size: int
    window: int
    k: int
    noise: float
    sigma: float
    estimated: bool

    def embed(self, X: Array, weights: tuple[Array, Array] | None) -> tuple[Array, Array]:
        raise InputError("a patch is no function of its pixel; build the graph by patch_graph()")

    def affinity(self, phi: Array, psi: Array) -> Array:
        raise InputError("a patch is no function of its pixel; build the graph by patch_graph()")


@within_memory
@takes_progress
def patch_graph(
    photo: Any,
    patch_size: int = 7,
    window: int = 21,
    k: int | None = None,
    *,
    noise: float | None = None,
    sigma: float | str | None = None,
    normalization: str = "bistochastic",
    progress: Progress = None,
) -> FeatureGraph:
    r"""Build the graph that joins each pixel to those of similar patches in a window.

    With the distance of the patches around pixels i and j,
    :math:`D_{ij} = \sum_o t_o \|y_{i+o} - y_{j+o}\|^2 / C`, where the weights t fall linearly from
    the centre and sum to 1,

    .. math:: w_{ij} = \exp(-\max(D_{ij} - 2ν^2, 0) / 2σ^2)

    for the k pixels j of least distance to i in its window, and for those that have i among
    theirs; ν is the noise, which adds 2ν² to every distance. The weight of a pixel with itself is
    that of its most similar pixel. These are the weights of nonlocal means; one product with A is a
    step of it, and filters go further.

    Parameters
    ----------
    photo : array of shape (H, W), or (H, W, C)
        In any unit; noisy values outside of [0, 1] may stay.
    patch_size, window : int
        Odd; sides of patches and windows, in pixels.
    k : int, optional
        Default: 32, or as many as a corner's window has.
    noise : float, optional
        ν ≥ 0, in the unit of the photo; default: :func:`estimate_noise`. ``graph.kernel.noise``
        is the value used, and ``graph.kernel.estimated`` tells whether it was estimated.
    sigma : float or "median", optional
        σ > 0 in the unit of the photo, or √ of the median of max(D − 2ν², 0) over the edges, for
        photos without noise. Default: 0.35 ν, or the median where that is 0.
    normalization : str
        As for :func:`gspnl.feature_graph`. "bistochastic" keeps the mean of the photo, and
        denoises better than "random_walk".
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    FeatureGraph
        Of N = H W nodes, row by row as in :func:`from_photo`, stored sparse.

    Raises
    ------
    InputError
        For a photo smaller than the window, sizes that are not odd, more neighbours than a corner's
        window has, or values that are not finite.
    SizeError
        If the weights would not fit in memory.

    References
    ----------
    Buades, A., Coll, B. and Morel, J.-M. (2005). A non-local algorithm for image denoising.
    Milanfar, P. (2013). Symmetrizing smoothing filters.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.zeros((40, 50)); photo[:, 25:] = 1
    >>> noisy = photo + 0.1 * np.random.default_rng(0).standard_normal(photo.shape)
    >>> graph = gspnl.images.patch_graph(noisy, patch_size=5, window=11, noise=0.1)
    >>> graph.n_nodes, graph.storage, graph.normalization
    (2000, 'sparse', 'bistochastic')
    >>> pixels = gspnl.images.from_photo(noisy)
    >>> smooth = graph.filter(pixels, gspnl.responses.heat(3.0)).reshape(photo.shape)
    >>> bool(np.std(smooth - photo) < 0.25 * np.std(noisy - photo))
    True
    """
    values = check_pixels(photo)
    for name, size, least in (("patch_size", patch_size, 1), ("window", window, 3)):
        if whole_number(name, size, least) % 2 == 0:
            raise InputError(f"{name}={size} must be odd, to have a pixel at its centre")
    height, width = values.shape[:2]
    if min(height, width) < window:
        fits = (min(height, width) - 1) // 2 * 2 + 1
        raise InputError(
            f"photo of {height} × {width} pixels is smaller than window={window}; "
            + (f"pass window={fits} or less" if fits >= 3 else "3 × 3 is the least")
        )
    most = (window // 2 + 1) ** 2 - 1
    count = min(NEIGHBORS, most) if k is None else whole_number(
        "k", k, 1, most, f", the pixels in a corner's window of {window}"
    )  # fmt: skip
    remedy = "use a smaller k, or parts of the photo"
    check_fits((height * width, count), values, "the weights of similar patches", remedy, copies=8)
    estimated = noise is None
    known = estimate_noise(values) if noise is None else number("noise", noise, least=0)

    peak = float(np.abs(values).max()) or 1.0  # squares of huge or tiny values leave the range
    nodes, D = nearest_patches(values / peak, patch_size, window, count)
    excess = np.maximum(D - np.float32(2 * min(known / peak, FAR) ** 2), 0)
    width_ = _bandwidth(sigma, known, excess, peak)
    kernel = Patches(patch_size, window, count, known, width_, estimated)
    spread = np.float32(2 * min(max(width_ / peak, 1 / FAR), FAR) ** 2)
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp(-excess / spread).astype(values.dtype)
    W = directed_matrix(nodes, weights)
    largest = np.maximum(weights.max(1), values.dtype.type(LONELY))
    if NORMALIZATIONS[normalization].symmetrizes:
        W = symmetric_matrix(W, "max")
        largest = np.maximum(largest, W.max(axis=1).toarray().ravel())
    W = with_loops(W, largest)
    W.eliminate_zeros()
    reason = f"{count} most similar patches of each pixel in its window of {window} × {window}"
    again = _Again(kernel, (height, width), peak, normalization)
    source = Source.of(values.reshape(height * width, -1), again)
    return sparse_graph(W, kernel, normalization, reason, source=source)


@dataclass(frozen=True)
class _Again:
    """The graph of other pixels (N, C), with the same noise and sigma."""

    kernel: Patches
    size: tuple[int, int]
    peak: float
    normalization: str

    def __call__(self, pixels: Array) -> FeatureGraph:
        # In float32, since risks compare graphs of signals that differ by a tenth of the noise;
        # in the unit of the photo's peak, since those of huge or tiny photos leave its range.
        values = np.asarray(pixels, dtype=np.float64) / self.peak
        return patch_graph(
            values.astype(np.float32).reshape(*self.size, -1),
            self.kernel.patch_size, self.kernel.window, self.kernel.k,
            noise=self.kernel.noise / self.peak, sigma=self.kernel.sigma / self.peak,
            normalization=self.normalization,
        )  # fmt: skip


def _bandwidth(sigma: float | str | None, noise: float, excess: np.ndarray, peak: float) -> float:
    """Return σ of the weights in the unit of the photo."""
    if sigma is None and noise > 0:
        return BANDWIDTH * noise
    if sigma is None or sigma == "median":
        positive = excess[excess > 0]
        return peak * float(np.sqrt(np.median(positive))) if positive.size else 1.0
    if isinstance(sigma, str):
        raise InputError(f"sigma={sigma!r} must be a number > 0, or 'median'")
    return number("sigma", sigma, above=0)
