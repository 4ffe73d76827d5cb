"""Pre-activation residual networks for small images."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from gspnl._base.validate import whole_number
from gspnl.train.backbones.base import BACKBONES, Backbone, early_places, initialize


class Basic(nn.Module):
    """Norm, ReLU and 3×3 convolution, twice."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width, 3)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _active(self.bn1, x)
        skip = x if self.shortcut is None else self.shortcut(y)
        y = self.conv1(y)
        y = self.conv2(_active(self.bn2, y))
        return y + skip


class Bottleneck(nn.Module):
    """Norm, ReLU and convolution, thrice: 1×1 to a quarter, 3×3, 1×1 back."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, width, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width, 3, stride)
        self.bn3, self.conv3 = nn.BatchNorm2d(width), _conv(width, outputs, 1)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _active(self.bn1, x)
        skip = x if self.shortcut is None else self.shortcut(y)
        y = self.conv2(_active(self.bn2, self.conv1(y)))
        y = self.conv3(_active(self.bn3, y))
        return y + skip


class PreResNet(Backbone):
    r"""Three stages of pre-activation residual blocks, of widths w, 2w, 4w.

    .. math:: X_{l+1} = S(X_l) + F(\mathrm{relu}(\mathrm{norm}(X_l))).

    S is the identity; where the shape changes it is a 1×1 convolution of what F takes.
    """

    def __init__(
        self,
        residual: type[Basic | Bottleneck],
        blocks: int,
        *,
        classes: int,
        channels: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__(
            classes=classes,
            channels=channels,
            dimensions=2,
            places=early_places(3),
            default_place="stage1",
        )
        inputs = whole_number("width", width, 1)
        self.conv1 = _conv(channels, inputs, 3)
        for stage in range(3):
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layer.append(residual(inputs, width << stage, stride))
                inputs = residual.expansion * (width << stage)
            self.add_module(f"layer{stage + 1}", layer)
        self.bn = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, classes)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in ("layer1", "layer2", "layer3"):
            x = getattr(self, name)(x)
        return _active(self.bn, x)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Conv2d | None:
    return None if (inputs, stride) == (outputs, 1) else _conv(inputs, outputs, 1, stride)


def _active(norm: nn.Module, x: Tensor) -> Tensor:
    return F.relu(norm(x), inplace=True)  # a norm needs its input for gradients, not its output


BACKBONES.register("preresnet20")(partial(PreResNet, Basic, 3))
BACKBONES.register("preresnet56")(partial(PreResNet, Bottleneck, 9))
BACKBONES.register("preresnet56_basic")(partial(PreResNet, Basic, 9))
