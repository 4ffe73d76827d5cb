"""Compute features of the pixels of a photo, and turn signals on them into pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from gspnl._base.array import as_floats, check_finite
from gspnl._base.blas import on_one_thread
from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError

# sRGB to cone responses, and those (after a cube root) to OKLab [1].
CONES = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
OPPONENT = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def photo_features(
    photo: Any,
    *,
    colour: float = 1.0,
    position: float = 0.5,
    patch: float = 0.0,
    patch_size: int = 3,
) -> np.ndarray:
    r"""Compute features of the pixels of a photo from colour, position and neighbourhood.

    Pixel i gets :math:`x_i = (s_c\,c_i,\; s_p\,(u_i, v_i)/\max(H, W),\; s_q\,(c_j)_{j \in P_i}/p)`
    with c its colour in OKLab [1]_ (lightness, 2a, 2b: equal distances look about equally large),
    u and v its column and row, and P its p × p neighbourhood, reflected at the edges. A scale of 0
    leaves a part out.

    Parameters
    ----------
    photo : array of shape (H, W, 3)
        RGB in [0, 1].
    colour, position, patch : float
        The scales s_c, s_p and s_q, each ≥ 0. On a flat area ``patch=1`` has the weight of
        ``colour=1``.
    patch_size : int
        p, odd, ≥ 3.

    Returns
    -------
    array of shape (N, C), float64
        N = H W, row by row; C = 3 + 2 + 3p², without the parts left out.

    Raises
    ------
    InputError
        For a photo that is not an (H, W, 3) array of finite numbers in [0, 1], or scales that are
        negative or all 0.

    References
    ----------
    .. [1] B. Ottosson, A perceptual color space for image processing, 2020; the factor 2 on a and b
       is that of the OKLab colour difference in CSS Color 4.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.random.default_rng(0).random((30, 40, 3))
    >>> gspnl.images.photo_features(photo).shape
    (1200, 5)
    >>> gspnl.images.photo_features(photo, patch=1.0, patch_size=5).shape
    (1200, 80)
    """
    photo = _check_photo(photo)
    for name, scale in (("colour", colour), ("position", position), ("patch", patch)):
        number(name, scale, least=0)
    if patch and whole_number("patch_size", patch_size, 3) % 2 == 0:
        raise InputError(f"patch_size={patch_size!r} must be an odd whole number ≥ 3")
    height, width = photo.shape[:2]
    lab = oklab(photo) * np.array([1.0, 2.0, 2.0])
    parts = []
    if colour:
        parts.append(colour * lab.reshape(-1, 3))
    if position:
        rows, columns = np.indices((height, width), dtype=np.float64)
        place = np.stack([columns, rows], axis=-1).reshape(-1, 2)
        parts.append(position / max(height, width) * place)
    if patch:
        half = patch_size // 2
        padded = np.pad(lab, ((half, half), (half, half), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (patch_size, patch_size), (0, 1))
        parts.append(patch / patch_size * windows.reshape(height * width, -1))
    if not parts:
        raise InputError(
            "colour, position and patch are all 0, which leaves no features; raise one"
        )
    return np.concatenate(parts, axis=1)


@on_one_thread
def oklab(photo: np.ndarray) -> np.ndarray:
    """Convert sRGB to OKLab (lightness, green-red, blue-yellow): (..., 3) → (..., 3).

    Examples
    --------
    >>> import numpy as np
    >>> np.abs(oklab(np.array([1.0, 1.0, 1.0]))).round(4)  # white
    array([1., 0., 0.])
    """
    linear = np.where(photo <= 0.04045, photo / 12.92, ((photo + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ CONES.T) @ OPPONENT.T)


def to_photo(signals: Any, shape: tuple[int, int]) -> np.ndarray:
    """Reshape signals to the pixels of a photo.

    Parameters
    ----------
    signals : array of shape (N, c), or (N,)
    shape : (int, int)
        (H, W) with H W = N.

    Returns
    -------
    array of shape (H, W, c), or (H, W)

    Raises
    ------
    InputError
        If N is not H W.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> photo = np.random.default_rng(0).random((3, 4, 3))
    >>> bool((gspnl.images.to_photo(gspnl.images.from_photo(photo), (3, 4)) == photo).all())
    True
    """
    values = np.asarray(signals)
    if len(shape) != 2 or values.ndim not in (1, 2) or values.shape[0] != shape[0] * shape[1]:
        raise InputError(
            f"signals of shape {values.shape} do not fill a photo of shape {tuple(shape)}; pass "
            "(N, c) signals and the (H, W) with H·W = N, as photo.shape[:2]"
        )
    return values.reshape(*shape, *values.shape[1:])


def from_photo(photo: Any) -> np.ndarray:
    """Return the pixels of a photo as signals; undoes :func:`to_photo`.

    Parameters
    ----------
    photo : array of shape (H, W, c), or (H, W)

    Returns
    -------
    array of shape (N, c), or (N,)
        N = H W, row by row.

    Examples
    --------
    >>> import numpy as np, gspnl
    >>> gspnl.images.from_photo(np.zeros((3, 4, 2))).shape
    (12, 2)
    """
    values = np.asarray(photo)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InputError(f"photo has shape {values.shape}; pass (H, W, c) or (H, W)")
    return values.reshape(-1, *values.shape[2:])


def _check_photo(photo: Any) -> np.ndarray:
    values = np.asarray(as_floats(np.asarray(photo), "photo"), dtype=np.float64)
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise InputError(f"photo has shape {values.shape}; pass RGB of shape (H, W, 3)")
    check_finite(values, "photo")
    if values.min() < 0 or values.max() > 1:
        raise InputError(
            f"photo has values from {values.min():.4g} to {values.max():.4g}; bring them to "
            "[0, 1]: divide bytes by 255, or np.clip(photo, 0, 1)"
        )
    return values
