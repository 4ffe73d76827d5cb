"""Photographs: read files, compute features, graphs of patches, denoise, signals as pictures."""

from gspnl.signals.images.denoise_photo import denoise_photo
from gspnl.signals.images.features import from_photo, oklab, photo_features, to_photo
from gspnl.signals.images.files import default_photo, load_photo, read_photo
from gspnl.signals.images.noise import estimate_noise
from gspnl.signals.images.patch_graph import patch_graph

__all__ = [
    "default_photo",
    "denoise_photo",
    "estimate_noise",
    "from_photo",
    "load_photo",
    "oklab",
    "patch_graph",
    "photo_features",
    "read_photo",
    "to_photo",
]
