"""Feature maps of the dot-product kernel: element by element, from any real number to ≥ 0."""

from __future__ import annotations

from collections.abc import Callable

from gspnl._base.array import Array, namespace
from gspnl._base.registry import Registry

FEATURE_MAPS: Registry[Callable[[Array], Array]] = Registry("feature map")


@FEATURE_MAPS.register("identity")
def identity(x: Array) -> Array:
    """Leave dot products as they are; they may be negative, which some normalisations refuse."""
    return x


@FEATURE_MAPS.register("relu")
def relu(x: Array) -> Array:
    """max(x, 0)."""
    xp = namespace(x)
    torch_relu = getattr(xp, "relu", None)  # its slope at 0 is 0, that of clip is 1
    return xp.clip(x, min=0) if torch_relu is None else torch_relu(x)


@FEATURE_MAPS.register("softplus")
def softplus(x: Array) -> Array:
    """log(1 + eˣ), written so that it does not overflow."""
    xp = namespace(x)
    return relu(x) + xp.log1p(xp.exp(-xp.abs(x)))


@FEATURE_MAPS.register("elu1")
def elu1(x: Array) -> Array:
    """elu(x) + 1: x + 1 for x > 0, eˣ otherwise."""
    xp = namespace(x)
    return relu(x) + xp.exp(xp.clip(x, max=0))


@FEATURE_MAPS.register("square")
def square(x: Array) -> Array:
    """x²."""
    return x * x


@FEATURE_MAPS.register("exp")
def exp(x: Array) -> Array:
    """eˣ."""
    return namespace(x).exp(x)
