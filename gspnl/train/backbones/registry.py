"""Backbones by name, and what they share: features, mean over positions, linear classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn

from gspnl._base.registry import Registry
from gspnl._base.validate import whole_number
from gspnl.errors import InputError

BACKBONES: Registry[Callable[..., Backbone]] = Registry("backbone")
SPATIAL = {2: "height, width", 3: "time, height, width"}


class Backbone(nn.Module):
    r"""A network (B, channels, \*spatial) → (B, classes), and the places in it for blocks.

    The weights are drawn from torch's global generator, so ``torch.manual_seed`` decides them. A
    block that is placed later draws after them: the backbone is the same under all blocks.

    Parameters
    ----------
    classes : int
    channels : int
        Of the images.
    dimensions : int
        Of the images: 2, or 3 for clips.
    places : mapping
        Name of a place → names of the modules that blocks follow there.
    default_place : str
        The paper's.
    """

    fc: nn.Linear

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        dimensions: int,
        places: Mapping[str, tuple[str, ...]],
        default_place: str,
    ) -> None:
        super().__init__()
        self.classes = whole_number("classes", classes, 1)
        self.channels = whole_number("channels", channels, 1)
        self.dimensions, self.places, self.default_place = dimensions, dict(places), default_place

    def features(self, x: Tensor) -> Tensor:
        r"""Feature map (B, C, \*spatial) of the last stage."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        r"""Scores (B, classes) of images (B, channels, \*spatial)."""
        if not isinstance(x, Tensor):
            raise InputError(f"a backbone takes a torch tensor, not {type(x).__name__}")
        shape = tuple(x.shape)
        if x.ndim != self.dimensions + 2 or x.shape[1] != self.channels or 0 in shape[2:]:
            raise InputError(
                f"the backbone got a tensor of shape {shape}; it takes (batch, {self.channels}, "
                f"{SPATIAL[self.dimensions]}), and is made for other images by channels="
            )
        if not x.is_floating_point():
            raise InputError(f"the backbone got {x.dtype}; scale images, as images.float() / 255")
        scores: Tensor = self.fc(self.features(x).flatten(2).mean(2))
        return scores


def create(name: str, *, classes: int, channels: int = 3, **options: Any) -> Backbone:
    r"""Make a backbone.

    Parameters
    ----------
    name : str
        "preresnet20" (basic blocks, [3, 3, 3]), "preresnet56" (bottlenecks, [9, 9, 9], as in the
        paper's code), "preresnet56_basic" (basic blocks, [9, 9, 9], as the name says),
        "resnet50", or "i3d_resnet50" for clips.
    classes : int
        At least 1.
    channels : int
        Of the images, at least 1.
    **options
        ``width``: channels of the narrowest layer of stage 1, default 16 (PreResNet) or 64
        (ResNet). ``stem`` of "resnet50": "cifar" (3×3, stride 1, no pooling; default) or
        "imagenet" (7×7, stride 2, pooling).

    Returns
    -------
    Backbone
        A module (B, channels, ``*spatial``) to scores (B, classes), of images of any size, drawn
        by He's rule from torch's global generator.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, and
    "Identity mappings in deep residual networks", ECCV 2016. K. Hara, H. Kataoka, Y. Satoh, "Can
    spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> from gspnl.train import backbones
    >>> net = backbones.create("preresnet20", classes=10)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> sum(p.numel() for p in net.parameters())
    272282
    >>> net.default_place, net.places["dp3"]
    ('stage1', ('layer1.1', 'layer2.1', 'layer3.1'))
    """
    make = BACKBONES[name]
    known = [each for each in signature(make).parameters if each not in ("classes", "channels")]
    unknown = [each for each in options if each not in known]
    if unknown:
        raise InputError(
            f"backbone {name!r} has no option {', '.join(map(repr, unknown))}; it takes classes, "
            f"channels, {', '.join(known)}"
        )
    return make(classes=classes, channels=channels, **options)
