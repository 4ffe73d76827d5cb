"""A backbone by its name."""

from __future__ import annotations

from inspect import signature
from typing import Any

from gspnl.errors import InputError
from gspnl.train.backbones.base import BACKBONES, Backbone


def create(name: str, *, classes: int, channels: int = 3, **options: Any) -> Backbone:
    r"""Make a backbone.

    Parameters
    ----------
    name : str
        "preresnet20" (basic blocks, [3, 3, 3]), "preresnet56" (bottlenecks, [9, 9, 9], as in the
        paper's code), "preresnet56_basic" (basic blocks, [9, 9, 9], what the name says),
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
        A module (B, channels, ``*spatial``) to scores (B, classes), of images of any size. It is
        drawn by He's rule from torch's global generator: ``torch.manual_seed`` decides it.

    Raises
    ------
    InputError
        For unknown names and options, and for sizes below 1.

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
    made = BACKBONES[name]
    known = [each for each in signature(made).parameters if each not in ("classes", "channels")]
    unknown = [each for each in options if each not in known]
    if unknown:
        raise InputError(
            f"backbone {name!r} has no option {', '.join(map(repr, unknown))}; it takes classes, "
            f"channels, {', '.join(known)}"
        )
    return made(classes=classes, channels=channels, **options)
