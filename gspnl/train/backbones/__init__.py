"""Networks that blocks are put into, with the paper's places for them."""

import gspnl.nn  # noqa: F401  (a clear error where torch is missing)
from gspnl.train.backbones import i3d, preresnet, resnet  # noqa: F401  (they register themselves)
from gspnl.train.backbones.base import BACKBONES, Backbone
from gspnl.train.backbones.creating import create
from gspnl.train.backbones.placing import place
from gspnl.train.backbones.pretrained import Loaded, load_pretrained

__all__ = ["BACKBONES", "Backbone", "Loaded", "create", "load_pretrained", "place"]
