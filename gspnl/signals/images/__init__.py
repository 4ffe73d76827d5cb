"""Photographs: read files, compute features of pixels, turn signals into pictures."""

from gspnl.signals.images.features import from_photo, oklab, photo_features, to_photo
from gspnl.signals.images.files import default_photo, load_photo, read_photo

__all__ = [
    "default_photo",
    "from_photo",
    "load_photo",
    "oklab",
    "photo_features",
    "read_photo",
    "to_photo",
]
