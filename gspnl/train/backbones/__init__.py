"""Residual networks, with the paper's places for nonlocal blocks."""

import gspnl.nn  # noqa: F401  (a clear error where torch is missing)
from gspnl.train.backbones import residual  # noqa: F401  (it registers its networks)
from gspnl.train.backbones.places import place
from gspnl.train.backbones.pretrained import Loaded, load_pretrained
from gspnl.train.backbones.registry import BACKBONES, Backbone, create

__all__ = ["BACKBONES", "Backbone", "Loaded", "create", "load_pretrained", "place"]
