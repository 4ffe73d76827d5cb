"""Read photographs from files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gspnl._base import extras
from gspnl._base.files import readable, refuse_endless
from gspnl._base.validate import whole_number
from gspnl.errors import FileError, MissingExtraError, SizeError
from gspnl.signals.images.pixels import DAMAGE, Loaded, fitting, load, show

if TYPE_CHECKING:
    from os import PathLike


def load_photo(path: str | PathLike[str], *, max_pixels: int | None = None) -> np.ndarray:
    """Read a photograph as an RGB array.

    The orientation stored by the camera (EXIF, or else XMP) is applied once; palettes, CMYK, YCbCr
    and CIELAB become RGB; transparent parts, and colours that are declared transparent, become
    white. Grey of 16 bits has the range 0 to 65535, of 32 bits that of 8 bits if its values fit in
    them, else of 16, and of floats 0 to 1. Colours are read as sRGB; profiles are ignored.

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
        If the file is missing, a folder, not an image, damaged, larger than Pillow considers safe,
        or has a side of more than 262,144 pixels or values beyond the range.

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
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "reading a photo needs Pillow, which is not installed: pip install 'gspnl[report]'"
        ) from error
    if max_pixels is not None:
        max_pixels = whole_number("max_pixels", max_pixels, 1)
    refuse_endless(Path(path))
    with image_errors(repr(str(path))), warnings.catch_warnings(), Path(path).open("rb") as file:
        warnings.simplefilter("ignore")  # of metadata; the pixels are judged below
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            draft = None if max_pixels is None else fitting(image.size, max_pixels)
            loaded = load(image, draft)  # JPEG decodes to a half, quarter or eighth directly
            return _pixels(loaded, max_pixels), loaded.size[::-1]


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
    except MemoryError:
        raise SizeError(f"{name} does not fit in memory; scale it down first") from None
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


def _pixels(loaded: Loaded, most: int | None) -> np.ndarray:
    """Pixels in [0, 1], of shape (H, W, 3), scaled down to ``most``."""
    from PIL import Image

    image = show(loaded)
    size = fitting(image.size, most)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        return np.repeat(np.clip(values, 0, 1)[:, :, None], 3, axis=2)
    return values / 255
