"""Show frames of videos as their files say: square pixels, upright, RGB on white."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from gspnl.train.data.registry import DataError

SLANT = math.sin(math.radians(1))  # of a display matrix, beyond the nearest quarter turn


def square_width(width: int, aspect: Fraction | None) -> int:
    """The width of square pixels in which a frame keeps its height.

    ``aspect`` is the width of a stored pixel by its height; None or 0 if the file does not say.
    """
    return max(1, round(width * aspect)) if aspect and aspect > 0 else width


def show(frame: Any, aspect: Fraction | None, name: str) -> np.ndarray:
    """RGB of a decoded frame, uint8 of shape (H, W, 3).

    The width is resized to square pixels, then the display matrix of the container is applied.
    Colour space and range are those of the frame's labels; without labels BT.601 and limited.
    """
    width = square_width(frame.width, aspect)
    clear = any(component.is_alpha for component in frame.format.components)
    pixels = frame.to_ndarray(width=width, format="rgba" if clear else "rgb24")
    if clear:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        pixels = np.rint(255 + (pixels[:, :, :3] - np.float32(255)) * alpha).astype(np.uint8)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return np.asarray(pixels)
    return turned(pixels, np.frombuffer(bytes(matrix), np.int32), name)


def turned(pixels: np.ndarray, matrix: np.ndarray, name: str) -> np.ndarray:
    r"""Apply a display matrix (a, b, u, c, d, v, …) of MP4 to pixels (H, W, …).

    Column x and row y are shown at :math:`(a x + c y, b x + d y)`, moved into view. Scales are in
    the aspect already, so only the signs matter; a matrix that is singular says nothing.
    """
    a, b, c, d = (float(matrix[index]) for index in (0, 1, 3, 4))
    if a * d == b * c:
        return pixels
    straight, swapped = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, swapped) > SLANT * math.hypot(straight, swapped):
        raise DataError(
            f"{name!r} is to be shown turned by {math.degrees(math.atan2(b, a)):.0f}°, which is no "
            "quarter turn; turn it upright with a video editor"
        )
    if swapped > straight:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
