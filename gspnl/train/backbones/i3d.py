"""ResNet-50 for clips: every k×k kernel becomes k×k×k."""

from __future__ import annotations

from gspnl.train.backbones.base import BACKBONES
from gspnl.train.backbones.resnet import ResNet, Stem

# 16 frames of 112×112 become 8×28×28 in stage 1, 4×14×14, 2×7×7 at res4, and 1×4×4.
STEM = Stem(7, (1, 2, 2), pool=True)


@BACKBONES.register("i3d_resnet50")
def i3d_resnet50(*, classes: int, channels: int = 3, width: int = 64) -> ResNet:
    """3-D ResNet-50 in the manner of Hara et al., for clips (B, channels, time, height, width)."""
    return ResNet((3, 4, 6, 3), STEM, classes=classes, channels=channels, width=width)
