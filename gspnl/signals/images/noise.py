"""Estimate the standard deviation of the noise of a photo from its second differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite
from gspnl.errors import InputError

NORMAL_MEDIAN = 0.6744897501960817  # of |x|, x standard normal


def estimate_noise(photo: Any) -> float:
    r"""Estimate the standard deviation of white noise in a photo.

    .. math:: σ = \mathrm{median}\,|N * y| / 0.6745, \qquad N = \tfrac16
       \begin{pmatrix} 1 & -2 & 1 \\ -2 & 4 & -2 \\ 1 & -2 & 1 \end{pmatrix}

    N is 0 on planes and has norm 1; the median ignores edges. Fine texture counts as noise, so the
    estimate is too large for little noise: by 1 of 255 at σ = 5 and by 0.1 to 1 at σ = 25 on five
    photos. Correlated noise, as in a JPEG file, gives one that is too small.

    Parameters
    ----------
    photo : array of shape (H, W), or (H, W, C)
        In any unit; H, W ≥ 3.

    Returns
    -------
    float
        In the unit of the photo.

    Raises
    ------
    InputError
        For a photo of another shape, or one that is not finite.

    References
    ----------
    Immerkær, J. (1996). Fast noise variance estimation.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> rows, columns = np.indices((100, 100)) / 100
    >>> photo = rows * columns + 0.1 * np.random.default_rng(0).standard_normal((100, 100))
    >>> round(gspnl.images.estimate_noise(photo), 2)
    0.1
    """
    values = check_pixels(photo)
    if min(values.shape[:2]) < 3:
        raise InputError(
            f"photo has {values.shape[0]} × {values.shape[1]} pixels; its noise is estimated from "
            "second differences, which need 3 × 3"
        )
    peak = float(np.abs(values).max()) or 1.0  # differences of huge values leave the range
    unit = values.astype(np.float64) / peak
    second = unit[2:] - 2 * unit[1:-1] + unit[:-2]
    second = second[:, 2:] - 2 * second[:, 1:-1] + second[:, :-2]
    return peak * (float(np.median(np.abs(second))) / (6 * NORMAL_MEDIAN))


def check_pixels(photo: Any) -> np.ndarray:
    """Return a photo in any unit as an array (H, W, C) of floats, or raise."""
    values = np.asarray(as_floats(np.asarray(photo), "photo"))
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InputError(f"photo has shape {values.shape}; pass (H, W), or (H, W, C)")
    check_finite(values, "photo")
    return values.reshape(*values.shape[:2], -1)
