"""Denoise a photo on the graph of its similar patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.effort import Progress, takes_progress
from gspnl._base.validate import number
from gspnl._base.warn import warn
from gspnl.errors import EstimateWarning, InputError
from gspnl.signals.denoise import denoise
from gspnl.signals.images.noise import check_pixels, estimate_noise
from gspnl.signals.images.patch_graph import patch_graph

ROUNDING = 12**-0.5  # standard deviation of the rounding to whole numbers


@takes_progress
def denoise_photo(
    photo: Any,
    sigma: float | None = None,
    *,
    method: str = "polynomial",
    patch_size: int = 7,
    window: int = 21,
    k: int | None = None,
    progress: Progress = None,
) -> np.ndarray:
    """Denoise a photo by the filter of least estimated error on :func:`patch_graph`.

    The graph is built from the noisy photo, so the estimate goes through its construction: the
    graph is built twice, see :func:`gspnl.choose_response`.

    Parameters
    ----------
    photo : array of shape (H, W), or (H, W, C)
        In any unit. Values outside of [0, 1] need not be clipped, which would bias the noise.
    sigma : float, optional
        Standard deviation of the noise, > 0, in the unit of the photo; default:
        :func:`estimate_noise`, with a warning that names the estimate.
    method : {"polynomial", "tikhonov", "heat"}
        See :func:`gspnl.denoise`.
    patch_size, window, k : int
        See :func:`patch_graph`.
    progress : bool or callable, optional
        See :func:`gspnl.progress`.

    Returns
    -------
    array of the shape of the photo, of its dtype if that is a float, else float64
        Not clipped. A photo whose estimated noise is 0 is returned as it is.

    Raises
    ------
    InputError
        As for :func:`patch_graph`, and for a photo of whole numbers with a sigma below their
        rounding, as one in units of [0, 1] is.

    Warns
    -----
    EstimateWarning
        Where sigma is estimated.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.zeros((60, 60)); photo[:, 30:] = 1
    >>> noisy = photo + 0.1 * np.random.default_rng(0).standard_normal(photo.shape)
    >>> clean = gspnl.images.denoise_photo(noisy, sigma=0.1)
    >>> bool(np.std(clean - photo) < 0.2 * np.std(noisy - photo))
    True
    """
    values = check_pixels(photo)
    if sigma is None:
        sigma = estimate_noise(values)
        warn(
            f"sigma is not given: the noise is estimated as {sigma:.4g}, in the unit of the photo; "
            "pass sigma= if it is known, or gspnl.images.estimate_noise(photo)",
            EstimateWarning,
        )
        if sigma == 0:
            return values.reshape(np.shape(photo)) + 0
    noise = number("sigma", sigma, above=0)
    if np.asarray(photo).dtype.kind in "iu" and noise < ROUNDING:
        raise InputError(
            f"sigma={noise:g} is less than the rounding of whole numbers, {ROUNDING:.2f}, and this "
            f"photo has whole numbers up to {values.max():g}; pass sigma in their unit (25.5 for "
            "0.1 of 255), or divide the photo by its largest value"
        )
    graph = patch_graph(values, patch_size, window, k, noise=noise)
    pixels = values.reshape(graph.n_nodes, -1)
    return np.asarray(denoise(graph, pixels, method, sigma=noise)).reshape(np.shape(photo))
