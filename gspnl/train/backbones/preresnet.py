"""Pre-activation residual networks for small images."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from gspnl._base.validate import whole_number
from gspnl.train.backbones.registry import BACKBONES, Backbone, early_places, initialize


class Residual(nn.Module):
    """Norm, ReLU and convolution: 3×3 twice, or as a bottleneck 1×1, 3×3 and 1×1 to 4 widths."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        basic = [(width, 3, stride), (width, 3, 1)]
        layers = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)] if bottleneck else basic
        at = inputs
        for n, (outputs, kernel, step) in enumerate(layers, 1):
            self.add_module(f"bn{n}", nn.BatchNorm2d(at))
            self.add_module(f"conv{n}", _conv(at, outputs, kernel, step))
            at = outputs
        self.depth = len(layers)
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
                layer.append(Residual(inputs, width << stage, stride, bottleneck))
                inputs = (4 if bottleneck else 1) * (width << stage)
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


def _active(norm: nn.Module, x: Tensor) -> Tensor:
    return F.relu(norm(x), inplace=True)  # a norm needs its input for gradients, not its output


BACKBONES.register("preresnet20")(partial(PreResNet, 3, False))
BACKBONES.register("preresnet56")(partial(PreResNet, 9, True))
BACKBONES.register("preresnet56_basic")(partial(PreResNet, 9, False))
