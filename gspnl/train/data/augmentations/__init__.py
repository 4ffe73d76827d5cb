"""What is done to a batch of images before a network sees it, with uniforms that are given."""

from gspnl.train.data.augmentations import crops, flips, resizing  # noqa: F401  (they register)
from gspnl.train.data.augmentations.base import AUGMENTATIONS, Augmentation
from gspnl.train.data.augmentations.chain import Chain, chain
from gspnl.train.data.augmentations.colour import normalise

__all__ = ["AUGMENTATIONS", "Augmentation", "Chain", "chain", "normalise"]
