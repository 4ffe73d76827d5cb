"""Decode image files in memory to RGB bytes."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np

from gspnl.errors import FileError, MissingExtraError
from gspnl.signals.images.files import ORIENTATION, image_errors, is_deep, opaque, scaled_grey
from gspnl.train.data.registry import DataError

_FILTERS = threading.Lock()  # the filters of warnings belong to all threads
# Pillow knows more formats, some of which it hands to other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# Orientation in EXIF → the PIL.Image.Transpose that undoes it.
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip


def decode(content: bytes, name: str) -> np.ndarray:
    """Decode a JPEG, PNG, BMP, GIF, PPM, TIFF or WebP file; threads may do so at once.

    The orientation stored by the camera (EXIF) is applied; grey, palette, CMYK and 16-bit images
    become RGB; transparent parts are laid on white, as :func:`gspnl.images.load_photo` does.
    Colours are taken for sRGB: a profile (ICC) is ignored, as are faults of the metadata. An
    animation gives its first frame.

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
                image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
                turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
                if image.format != "JPEG":  # which gives no warnings later, and takes long
                    image.load()
            if turn is not None:
                image = image.transpose(Image.Transpose[turn])
            if is_deep(image):
                grey = np.rint(np.asarray(scaled_grey(image)) * 255).astype(np.uint8)
                return np.dstack([grey] * 3)
            return np.array(opaque(image))
    except FileError as error:
        raise DataError(str(error)) from error
