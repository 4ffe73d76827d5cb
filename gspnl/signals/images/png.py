"""Parts of PNG that Pillow leaves undone: transparent colours by depth, streams that end early."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

BLOCK = 2**20  # bytes that are inflated at a time
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a colour type
# Adam7: first column, first row, and the steps between columns and rows, of each pass
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def declared_colour(declared: Any, raw: str) -> Any:
    """A transparent grey or colour in the units of Pillow's samples, whose raw mode is ``raw``.

    Samples of less than 8 bits are scaled up as they are read, and bits above them do not count.
    """
    if isinstance(declared, tuple):
        return tuple(value & 255 for value in declared)
    mask, factor = {"L": (255, 1), "L;2": (3, 85), "L;4": (15, 17)}.get(raw, (65535, 1))
    return (declared & mask) * factor


def mask(image: Any, declared: tuple[int, ...]) -> np.ndarray:
    """Mark a colour of 16 bits, of which Pillow keeps the upper 8: decode once more for the lower.

    Samples are stored with the upper byte first; read as if it came last, the lower one is kept.
    """
    from PIL import Image

    place = image.fp.tell()
    halves = []
    for raw in ("RGB;16B", "RGB;16L"):
        image.fp.seek(0)
        again: Any = Image.open(image.fp, formats=("PNG",))
        again.tile = [(*again.tile[0][:3], raw)]
        halves.append(np.asarray(again).astype(np.uint16))
    image.fp.seek(place)
    samples = (halves[0] << 8) | halves[1]
    return np.asarray((samples == np.array(declared, np.uint16)).all(axis=2))


def check_rows(image: Any, file: Any) -> None:
    """Raise if the compressed stream ends before the last row; Pillow leaves those rows 0.

    The stream is inflated again only where one of the last two rows is 0.
    """
    width, height = image.size
    ends = [np.asarray(image.crop((0, row, width, row + 1))) for row in range(height)[-2:]]
    if all(row.any() for row in ends):
        return
    file.seek(8)
    needed, inflate, found = 0, zlib.decompressobj(), 0
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        content = file.read(int.from_bytes(head[:4], "big"))
        file.seek(4, 1)
        if head[4:] == b"IHDR":
            needed = _bytes(content)
        while head[4:] == b"IDAT" and content and not inflate.eof:
            found += len(inflate.decompress(content, BLOCK))
            content = inflate.unconsumed_tail
    while not inflate.eof and (more := inflate.decompress(b"", BLOCK)):
        found += len(more)
    if found < needed:
        raise OSError(f"its rows end after {found:,} of {needed:,} bytes")


def _bytes(header: bytes) -> int:
    """Length of the inflated stream: a byte for the filter and the samples of each row."""
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    depth, kind, interlaced = header[8], header[9], header[12]
    total = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * depth * CHANNELS[kind] + 7) // 8)
    return total
