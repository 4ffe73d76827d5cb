"""Decode image files in memory to RGB bytes."""

from __future__ import annotations

import io
import threading
import warnings
from typing import Any

import numpy as np

from gspnl.errors import FileError, MissingExtraError
from gspnl.signals.images.files import image_errors
from gspnl.signals.images.pixels import load, orientation, show
from gspnl.train.data.registry import DataError

_FILTERS = threading.Lock()  # the filters of warnings belong to all threads
# Pillow knows more formats, some of which it hands to other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000")
QUIET = ("JPEG", "MPO")  # decode without warnings, and take long


def decode(content: bytes, name: str) -> np.ndarray:
    """Decode an image file of the :data:`FORMATS`; threads may do so at once.

    Pixels are those of :func:`gspnl.images.load_photo`, rounded to 8 bits: upright by the
    orientation of EXIF, in RGB, with transparent parts laid on white. Colours are taken for sRGB: a
    profile (ICC) is ignored, as are faults of the metadata. An animation gives its first frame.

    Parameters
    ----------
    content : bytes
    name : str
        For errors.

    Returns
    -------
    array of shape (H, W, 3), uint8

    Raises
    ------
    DataError
        If it is empty, no image, damaged, or larger than Pillow considers safe
        (``PIL.Image.MAX_IMAGE_PIXELS``, 89 million pixels unless changed). A JPEG whose middle is
        damaged may still decode; the format has no checksum.
    MissingExtraError
        Without Pillow.

    Examples
    --------
    >>> import gspnl
    >>> decode(gspnl.images.default_photo().read_bytes(), "hopper").shape
    (600, 512, 3)
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "decoding an image needs Pillow, which is not installed: pip install 'gspnl[train]'"
        ) from error
    try:
        with image_errors(repr(name)):
            with _FILTERS, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of metadata; the pixels are judged below
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(content), formats=_formats(Image))
                if image.format in QUIET:
                    orientation(image)  # its warnings; Pillow keeps the result
                    loaded = None
                else:
                    loaded = load(image)
            shown = show(loaded or load(image))
        if shown.mode == "F":
            return np.dstack([np.rint(np.asarray(shown) * 255).astype(np.uint8)] * 3)
        return np.array(shown)
    except FileError as error:
        raise DataError(str(error)) from error


def _formats(pillow: Any) -> tuple[str, ...]:
    """Those of our formats that this Pillow was built with."""
    pillow.init()
    return tuple(name for name in FORMATS if name in pillow.OPEN)
