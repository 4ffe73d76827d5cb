"""Read photographs from files."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gspnl._base import extras
from gspnl._base.files import readable
from gspnl._base.validate import whole_number
from gspnl.errors import FileError, MissingExtraError

if TYPE_CHECKING:
    from os import PathLike

# Exceptions of Pillow's decoders on damaged files.
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
    RuntimeError, struct.error,
)  # fmt: skip
ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)  # the EXIF tag, and its values that swap the axes


def load_photo(path: str | PathLike[str], *, max_pixels: int | None = None) -> np.ndarray:
    """Read a photograph as an RGB array.

    The orientation stored by the camera (EXIF) is applied; grey, palette, CMYK and 16-bit images
    become RGB; transparent parts become white. Colours are read as sRGB; profiles are ignored.

    Parameters
    ----------
    path : path
        Any format that Pillow reads; the first frame of an animation.
    max_pixels : int, optional
        ≥ 1; a photo of more pixels is scaled down, with its proportions, until it fits.

    Returns
    -------
    array of shape (H, W, 3), float64, in [0, 1]

    Raises
    ------
    FileError
        If the file is missing, a folder, not an image, damaged, or larger than Pillow considers
        safe.

    Examples
    --------
    >>> import gspnl
    >>> photo = gspnl.images.load_photo(gspnl.images.default_photo(), max_pixels=3000)
    >>> photo.shape, bool(0 <= photo.min() < photo.max() <= 1)
    ((59, 50, 3), True)
    """
    return read_photo(path, max_pixels=max_pixels)[0]


def read_photo(
    path: str | PathLike[str], *, max_pixels: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a photo as :func:`load_photo` does; also returns its (height, width) at full size."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError(
            "reading a photo needs Pillow, which is not installed: pip install 'gspnl[report]'"
        ) from error
    if max_pixels is not None:
        max_pixels = whole_number("max_pixels", max_pixels, 1)
    with image_errors(repr(str(path))), warnings.catch_warnings(), Path(path).open("rb") as file:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION) in SIDEWAYS:
                width, height = height, width
            if max_pixels is not None:  # JPEG decodes to a half, quarter or eighth directly
                image.draft(image.mode, _fitting(image.size, max_pixels))
            return _pixels(ImageOps.exif_transpose(image), max_pixels), (height, width)


@contextmanager
def image_errors(name: str) -> Iterator[None]:
    """Raise errors of Pillow and of the file system as a FileError with the file's name."""
    from PIL import Image, UnidentifiedImageError

    try:
        with readable(name, "a photo"):
            yield
    except FileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FileError(
            f"{name} decompresses to more pixels than is safe ({error}); scale it down first"
        ) from None
    except UnidentifiedImageError:
        raise FileError(
            f"{name} is not an image that Pillow can read; pass a JPEG or PNG"
        ) from None
    except DAMAGE as error:
        raise FileError(f"{name} is damaged or of an unusual kind: {error}") from error


def default_photo() -> Path:
    """Return the path of the photo that matplotlib ships, 512 × 600: Rear Admiral Grace Hopper.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    FileError
        If matplotlib was installed without its sample data.

    Examples
    --------
    >>> import gspnl
    >>> gspnl.images.default_photo().name
    'grace_hopper.jpg'
    """
    found = extras.spec("matplotlib")  # not imported: that takes half a second
    if found is None or found.origin is None:
        raise MissingExtraError(
            "the default photo comes with matplotlib, which is not installed: "
            "pip install 'gspnl[report]', or pass a photo"
        )
    path = Path(found.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if not path.exists():
        raise FileError(
            f"this matplotlib came without its sample photo {str(path)!r}; pass a photo"
        )
    return path


def _fitting(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    """The largest (width, height) with the proportions of ``size`` and at most ``most`` pixels."""
    width, height = size
    if most is None or width * height <= most:
        return size
    scale = math.sqrt(most / (width * height))
    width = min(max(1, int(width * scale)), most)
    return width, min(max(1, int(height * scale)), most // width)


def is_deep(image: Any) -> bool:
    """Tell whether a Pillow image has 16 or 32 bits of grey, which ``convert("RGB")`` clips."""
    return bool(image.mode.startswith(("I", "F")))


def scaled_grey(image: Any) -> Any:
    """Convert a deep image to mode F, with values in [0, 1]."""
    from PIL import Image

    grey = np.asarray(image, dtype=np.float32)
    top = 65535.0 if image.mode.startswith("I") else 1.0
    if not (grey.min() >= 0 and grey.max() <= top):
        raise ValueError(
            f"its values run from {grey.min():g} to {grey.max():g}, beyond 0 to {top:g}; "
            "save it with 8 or 16 bits a channel"
        )
    return Image.fromarray(grey / np.float32(top))


def opaque(image: Any) -> Any:
    """Convert an image that is not deep to RGB; transparent parts become white."""
    from PIL import Image

    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _pixels(image: Any, most: int | None) -> np.ndarray:
    """Convert a Pillow image of any mode to RGB in [0, 1], scaled down to ``most`` pixels."""
    from PIL import Image

    size = _fitting(image.size, most)
    deep = is_deep(image)
    image = scaled_grey(image) if deep else opaque(image)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    values = np.asarray(image, dtype=np.float64)
    return np.repeat(np.clip(values, 0, 1)[:, :, None], 3, axis=2) if deep else values / 255
