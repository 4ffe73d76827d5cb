"""Residual networks: pre-activated ones for small images, ResNet-50 in two and three dimensions.

Parameters of ResNet-50 are named as in torchvision and in the 3-D networks of Hara et al., so that
both load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from gspnl._base.validate import one_of, whole_number
from gspnl.train.backbones.registry import BACKBONES, Backbone

EXPANSION = 4  # of a bottleneck
Layer = Callable[..., nn.Module]
CONV: dict[int, Layer] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, Layer] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL: dict[int, Layer] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
# Kernel and stride of the first convolution, and whether a pooling by 2 follows.
Stem = tuple[int, tuple[int, ...], bool]
STEMS: dict[str, Stem] = {"cifar": (3, (1, 1), False), "imagenet": (7, (2, 2), True)}
# 16 frames of 112×112 become 8×28×28 in stage 1, 4×14×14, 2×7×7 at res4, and 1×4×4.
CLIPS = (7, (1, 2, 2), True)


class Residual(nn.Module):
    """Norm, ReLU and convolution: 3×3 twice, or as a bottleneck 1×1, 3×3 and 1×1 to 4 widths."""

    def __init__(self, bottleneck: bool, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        basic = [(width, 3, stride), (width, 3, 1)]
        layers = [(width, 1, 1), (width, 3, stride), (EXPANSION * width, 1, 1)]
        at = inputs
        for n, (outputs, kernel, step) in enumerate(layers if bottleneck else basic, 1):
            self.add_module(f"bn{n}", nn.BatchNorm2d(at))
            self.add_module(f"conv{n}", _conv(at, outputs, kernel, step))
            self.depth, at = n, outputs
        changed = (inputs, stride) != (at, 1)
        self.shortcut = _conv(inputs, at, 1, stride) if changed else None

    def forward(self, x: Tensor) -> Tensor:
        y = skip = x
        for n in range(1, self.depth + 1):
            y = _active(getattr(self, f"bn{n}"), y)
            if n == 1 and self.shortcut is not None:
                skip = self.shortcut(y)
            y = getattr(self, f"conv{n}")(y)
        return y + skip


class PreResNet(Backbone):
    r"""Three stages of pre-activation residual blocks, of widths w, 2w, 4w.

    .. math:: X_{l+1} = S(X_l) + F(\mathrm{relu}(\mathrm{norm}(X_l))).

    S is the identity, or where the shape changes a 1×1 convolution of F's input.
    """

    def __init__(
        self, blocks: int, bottleneck: bool, *, classes: int, channels: int = 3, width: int = 16
    ) -> None:
        places = _early_places(3)
        super().__init__(
            classes=classes, channels=channels, dimensions=2, places=places, default_place="stage1"
        )
        self.conv1 = _conv(channels, whole_number("width", width, 1), 3)
        block, expansion = partial(Residual, bottleneck), EXPANSION if bottleneck else 1
        outputs = _add_stages(self, [blocks] * 3, block, width, expansion)
        self.bn = nn.BatchNorm2d(outputs)
        self.fc = nn.Linear(outputs, classes)
        _initialize(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in ("layer1", "layer2", "layer3"):
            x = getattr(self, name)(x)
        return _active(self.bn, x)


class Bottleneck(nn.Module):
    """Convolution and norm, thrice: 1×1 to a quarter, 3×3, 1×1 back; ReLU between and after."""

    def __init__(self, dimensions: int, inputs: int, width: int, stride: int) -> None:
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
        y = _active(self.bn1, self.conv1(x))
        y = _active(self.bn2, self.conv2(y))
        skip = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + skip, inplace=True)


class ResNet50(Backbone):
    r"""Stages of 3, 4, 6 and 3 bottlenecks, of widths w, 2w, 4w, 8w.

    .. math:: X_{l+1} = \mathrm{relu}(S(X_l) + F(X_l)).

    "res4", the paper's place, is before the last block of the third stage: the stem is res1.
    """

    def __init__(self, stem: Stem, *, classes: int, channels: int = 3, width: int = 64) -> None:
        kernel, stride, pool = stem
        dimensions = len(stride)
        super().__init__(
            classes=classes,
            channels=channels,
            dimensions=dimensions,
            places={**_early_places(4), "res4": ("layer3.4",)},
            default_place="res4",
        )
        whole_number("width", width, 1)
        self.conv1 = CONV[dimensions](channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = NORM[dimensions](width)
        self.maxpool = POOL[dimensions](3, 2, 1) if pool else nn.Identity()
        block = partial(Bottleneck, dimensions)
        self.fc = nn.Linear(_add_stages(self, [3, 4, 6, 3], block, width, EXPANSION), classes)
        _initialize(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(_active(self.bn1, self.conv1(x)))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(self, name)(x)
        return x


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _active(norm: nn.Module, x: Tensor) -> Tensor:
    return F.relu(norm(x), inplace=True)  # a norm needs its input for gradients, not its output


def _add_stages(
    network: nn.Module, blocks: list[int], block: Layer, width: int, expansion: int
) -> int:
    """Add layer1, layer2, …; all but the first halve every dimension and double the width."""
    inputs = width
    for stage, count in enumerate(blocks):
        layer = nn.Sequential()
        for number in range(count):
            layer.append(block(inputs, width << stage, 2 if stage and not number else 1))
            inputs = expansion * (width << stage)
        network.add_module(f"layer{stage + 1}", layer)
    return inputs


def _early_places(stages: int) -> dict[str, tuple[str, ...]]:
    """Places after the second residual block of each stage, which are layer1, layer2 and so on."""
    second = {f"stage{n}": (f"layer{n}.1",) for n in range(1, stages + 1)}
    spread = second["stage1"] + second["stage2"] + second["stage3"]
    return {**second, "dp3": spread, "sp3": second["stage1"], "sp5": second["stage1"]}


def _initialize(network: nn.Module) -> None:
    """Draw the convolutions by He's rule from their fan-out; norms start as the identity."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


BACKBONES.register("preresnet20")(partial(PreResNet, 3, False))
BACKBONES.register("preresnet56")(partial(PreResNet, 9, True))
BACKBONES.register("preresnet56_basic")(partial(PreResNet, 9, False))
# In the manner of Hara et al., for clips (B, channels, time, height, width).
BACKBONES.register("i3d_resnet50")(partial(ResNet50, CLIPS))


@BACKBONES.register("resnet50")
def resnet50(*, classes: int, channels: int = 3, stem: str = "cifar", width: int = 64) -> ResNet50:
    """ResNet-50, with a stem for small images or for ImageNet's."""
    one_of("stem", stem, STEMS)
    return ResNet50(STEMS[stem], classes=classes, channels=channels, width=width)
