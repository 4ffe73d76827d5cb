"""What every backbone is: features, their mean over positions, a linear map to classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

    Attributes
    ----------
    places : dict of str to tuple of str
    default_place : str
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
        self.dimensions = dimensions
        self.places = dict(places)
        self.default_place = default_place

    def features(self, x: Tensor) -> Tensor:
        r"""Feature map (B, C, \*spatial) of the last stage."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        r"""Scores (B, classes) of images (B, channels, \*spatial)."""
        self._check(x)
        scores: Tensor = self.fc(self.features(x).flatten(2).mean(2))
        return scores

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise InputError(f"a backbone takes a torch tensor, not {type(x).__name__}")
        shape = tuple(x.shape)
        if x.ndim != self.dimensions + 2 or x.shape[1] != self.channels or 0 in shape[2:]:
            raise InputError(
                f"the backbone got a tensor of shape {shape}; it takes (batch, {self.channels}, "
                f"{SPATIAL[self.dimensions]}), and is made for other images by channels="
            )
        if not x.is_floating_point():
            raise InputError(
                f"the backbone got {x.dtype}; scale the images to floating point, as "
                "images.float() / 255"
            )


def early_places(stages: int) -> dict[str, tuple[str, ...]]:
    """Places after the second residual block of each stage, which are layer1, layer2 and so on.

    "dp3" is three of them at once; "sp3" and "sp5" are several units at the first.
    """
    second = {f"stage{n}": (f"layer{n}.1",) for n in range(1, stages + 1)}
    spread = second["stage1"] + second["stage2"] + second["stage3"]
    return {**second, "dp3": spread, "sp3": second["stage1"], "sp5": second["stage1"]}


def initialize(network: nn.Module) -> None:
    """Draw the convolutions by He's rule over what they feed; norms start as the identity."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
