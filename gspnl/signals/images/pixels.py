"""Convert images that Pillow opened to the pixels that a viewer shows: upright, opaque, RGB."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from gspnl.signals.images import png

# Exceptions of Pillow's decoders on damaged files.
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
    RuntimeError, struct.error,
)  # fmt: skip
ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)  # the EXIF tag, and its values that swap the axes
# Orientation in EXIF → the PIL.Image.Transpose that undoes it.
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags of samples, and a value of the second
LONGEST = 2**18  # pixels of a side; JPEG has at most 2¹⁶ - 1, and a row costs memory of its own
# Pixels that a byte of a compressed file holds at most: 258 bytes of deflate take 2 bits, and a
# pixel at least 1 bit; 12 bits of LZW stand for at most 4,096 pixels.
DENSEST = {"PNG": 8 * 1032, "GIF": 2731}


@dataclass(frozen=True)
class Loaded:
    """Decoded samples, and what the file says on how to show them.

    ``turn`` is an orientation of EXIF that is not yet applied, ``size`` the (width, height) of the
    whole image when it is. ``top`` is the value of white in a deep image (16 or 32 bits of grey),
    0 if none is declared; ``negative`` swaps white and black. ``mask`` marks the pixels of the
    colour that a PNG of 16 bits declares transparent; others have it in ``image.info``.
    """

    image: Any
    turn: int
    size: tuple[int, int]
    top: float = 0
    negative: bool = False
    mask: np.ndarray | None = None


def load(image: Any, draft: tuple[int, int] | None = None) -> Loaded:
    """Decode an opened image; a JPEG may be made smaller, but at least of the size ``draft``.

    Pillow applies the orientation of a TIFF while it decodes, and of no other format, so that is
    read last. An orientation that is none of 1 to 8 and a damaged EXIF block are ignored.
    """
    size = check_size(image)
    raw = image.tile[0][3] if image.format == "PNG" and image.tile else ""
    top, negative, mask = _top(image), False, None
    if image.format == "TIFF":
        negative = image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO
    if "transparency" in image.info and raw:
        if raw == "RGB;16B":
            mask = png.mask(image, image.info.pop("transparency"))
        elif image.mode != "P":
            image.info["transparency"] = png.declared_colour(image.info["transparency"], raw)
    drafted = draft is not None and image.draft(image.mode, draft) is not None
    file = image.fp
    image.load()
    if raw:
        png.check_rows(image, file)
    if not drafted:
        size = image.size  # some formats store it with the pixels
    turn = orientation(image)
    if turn in SIDEWAYS:
        size = size[::-1]
    return Loaded(image, turn, size, top, negative, mask)


def check_size(image: Any) -> tuple[int, int]:
    """The (width, height) in the header, if an image of its bytes can have it."""
    width, height = image.size
    if min(width, height) < 1:
        raise ValueError(f"its header says {width} × {height} pixels, which is none")
    if max(width, height) > LONGEST:
        raise ValueError(
            f"its header says {width:,} × {height:,} pixels, and no side may be longer than "
            f"{LONGEST:,}; cut it into pieces"
        )
    if image.format in DENSEST and image.fp is not None:
        place = image.fp.tell()
        length = image.fp.seek(0, 2)
        image.fp.seek(place)
        if width * height > DENSEST[image.format] * length:
            raise ValueError(
                f"its header says {width:,} × {height:,} pixels, more than {length:,} bytes can "
                "hold; copy it again"
            )
    return width, height


def orientation(image: Any) -> int:
    """The orientation of EXIF or XMP, 1 to 8; 1 if it is absent, invalid or damaged."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
        return int(value) if value in TURNS else 1
    except DAMAGE:  # of the metadata; the pixels are judged by the decoder
        return 1


def show(loaded: Loaded) -> Any:
    """Turn an image upright and lay it on white: mode F in [0, 1] if it is deep, else RGB."""
    from PIL import Image

    image = loaded.image
    image = _grey(loaded) if is_deep(image) else _opaque(image)
    if loaded.mask is not None:
        image.paste("white", mask=Image.fromarray(loaded.mask))
    if loaded.turn in TURNS:
        image = image.transpose(Image.Transpose[TURNS[loaded.turn]])
    return image


def is_deep(image: Any) -> bool:
    """Tell whether a Pillow image has 16 or 32 bits of grey, which ``convert("RGB")`` clips."""
    return bool(image.mode.startswith(("I", "F")))


def _top(image: Any) -> float:
    """The value of white that a deep image declares, or 0."""
    if image.mode == "F":
        return 1.0
    if image.format == "TIFF" and image.tag_v2.get(BITS) == (12,):
        return 4095.0
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        return 0.0
    return 65535.0


def _grey(loaded: Loaded) -> Any:
    """Values in [0, 1], in mode F. Integers of 32 bits are of 8 if they fit in them, else of 16."""
    from PIL import Image

    values = np.asarray(loaded.image)
    low, high = values.min(), values.max()
    top = loaded.top or (255.0 if high <= 255 else 65535.0)
    if not (low >= 0 and high <= top):  # or NaN
        raise ValueError(
            f"its values run from {low:g} to {high:g}, beyond 0 to {top:g}; save it with 8 or 16 "
            "bits a channel"
        )
    grey = values.astype(np.float32) / np.float32(top)
    if loaded.negative:
        grey = 1 - grey
    declared = loaded.image.info.get("transparency")
    if isinstance(declared, int):
        grey[values == declared] = 1
    return Image.fromarray(grey)


def _opaque(image: Any) -> Any:
    from PIL import Image

    if image.has_transparency_data:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return image.convert("RGB")


def fitting(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    """The largest (width, height) with the proportions of ``size`` and at most ``most`` pixels."""
    width, height = size
    if most is None or width * height <= most:
        return size
    scale = math.sqrt(most / (width * height))
    width = min(max(1, int(width * scale)), most)
    return width, min(max(1, int(height * scale)), most // width)
