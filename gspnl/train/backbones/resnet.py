"""Residual networks of bottlenecks in two and three dimensions.

Parameters are named as in torchvision and in the 3-D networks of Hara et al., so that both load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from gspnl._base.validate import one_of, whole_number
from gspnl.train.backbones.registry import BACKBONES, Backbone, early_places, initialize

EXPANSION = 4
Layer = Callable[..., nn.Module]
CONV: dict[int, Layer] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, Layer] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL: dict[int, Layer] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class Stem:
    """The first layers: a convolution, and optionally a pooling by 2."""

    kernel: int
    stride: tuple[int, ...]
    pool: bool


class Bottleneck(nn.Module):
    """Convolution and norm, thrice: 1×1 to a quarter, 3×3, 1×1 back; ReLU between and after."""

    def __init__(self, inputs: int, width: int, stride: int, dimensions: int) -> None:
        super().__init__()
        conv, norm, outputs = CONV[dimensions], NORM[dimensions], EXPANSION * width
        self.conv1, self.bn1 = conv(inputs, width, 1, bias=False), norm(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride, 1, bias=False), norm(width)
        self.conv3, self.bn3 = conv(width, outputs, 1, bias=False), norm(outputs)
        self.downsample: nn.Sequential | None = None
        if (inputs, stride) != (outputs, 1):
            shortcut = conv(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        skip = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + skip, inplace=True)


class ResNet(Backbone):
    r"""Stages of bottlenecks of widths w, 2w, 4w, 8w; all but the first halve every dimension.

    .. math:: X_{l+1} = \mathrm{relu}(S(X_l) + F(X_l)).

    "res4", the paper's place, is before the last block of the third stage: the stem is res1.
    """

    def __init__(
        self, blocks: tuple[int, ...], stem: Stem, *, classes: int, channels: int, width: int
    ) -> None:
        dimensions = len(stem.stride)
        super().__init__(
            classes=classes,
            channels=channels,
            dimensions=dimensions,
            places={**early_places(len(blocks)), "res4": (f"layer3.{blocks[2] - 2}",)},
            default_place="res4",
        )
        inputs = whole_number("width", width, 1)
        conv, pool = CONV[dimensions], POOL[dimensions]
        self.conv1 = conv(channels, inputs, stem.kernel, stem.stride, stem.kernel // 2, bias=False)
        self.bn1 = NORM[dimensions](inputs)
        self.maxpool = pool(3, 2, 1) if stem.pool else nn.Identity()
        self.stages = [f"layer{stage + 1}" for stage in range(len(blocks))]
        for stage, name in enumerate(self.stages):
            layer = nn.Sequential()
            for block in range(blocks[stage]):
                stride = 2 if stage and not block else 1
                layer.append(Bottleneck(inputs, width << stage, stride, dimensions))
                inputs = EXPANSION * (width << stage)
            self.add_module(name, layer)
        self.fc = nn.Linear(inputs, classes)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


STEMS = {"cifar": Stem(3, (1, 1), pool=False), "imagenet": Stem(7, (2, 2), pool=True)}
# 16 frames of 112×112 become 8×28×28 in stage 1, 4×14×14, 2×7×7 at res4, and 1×4×4.
CLIPS = Stem(7, (1, 2, 2), pool=True)


@BACKBONES.register("resnet50")
def resnet50(*, classes: int, channels: int = 3, stem: str = "cifar", width: int = 64) -> ResNet:
    """ResNet-50, with a stem for small images or for ImageNet's."""
    one_of("stem", stem, STEMS)
    return ResNet((3, 4, 6, 3), STEMS[stem], classes=classes, channels=channels, width=width)


@BACKBONES.register("i3d_resnet50")
def i3d_resnet50(*, classes: int, channels: int = 3, width: int = 64) -> ResNet:
    """3-D ResNet-50 in the manner of Hara et al., for clips (B, channels, time, height, width)."""
    return ResNet((3, 4, 6, 3), CLIPS, classes=classes, channels=channels, width=width)
