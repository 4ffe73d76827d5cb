"""A picture's bytes as pixels."""

from __future__ import annotations

import io

import numpy as np

from gspnl.errors import MissingExtraError
from gspnl.train.data.base import DataError

PIXELS = 2**26  # 67 million: no photograph that is fed to a network has more


def decode(content: bytes, name: str) -> np.ndarray:
    """Pixels of a JPEG or PNG, in colour or grey.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str
        Of the file, for errors.

    Returns
    -------
    array of shape (H, W, 3), uint8
        RGB. Grey comes as three equal channels. How a camera was held (EXIF) is not looked at.

    Raises
    ------
    DataError
        If the file is cut off, damaged, of another format or mode (with transparency, a palette,
        CMYK, 16 bits), or has more than 67 million pixels.
    MissingExtraError
        Without pillow.

    Examples
    --------
    >>> decode(b"no picture", "cat.jpg")
    Traceback (most recent call last):
    ...
    gspnl.train.data.base.DataError: 'cat.jpg' cannot be decoded ...
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("images need pillow; pip install 'gspnl[train]'") from error
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            width, height, mode = *picture.size, picture.mode
            if mode not in ("RGB", "L"):
                raise DataError(
                    f"{name!r} has the mode {mode}; only RGB and grey (L) are read, so convert it"
                )
            if width * height > PIXELS:
                raise DataError(f"{name!r} has {width} × {height} pixels, more than {PIXELS:,}")
            return np.array(picture.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # decoders fail in ways of their own: struct.error, SyntaxError …
        raise DataError(
            f"{name!r} cannot be decoded as JPEG or PNG ({error}); it is damaged or another "
            "format: replace it, or leave it out with skip_bad"
        ) from error
