"""Linear layers: linear, addmm, products with parameters, convolutions of one pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from gspnl.nn.attention_calls.origins import Projected, Softmax, Written, projected
from gspnl.nn.attention_calls.recorder import Recorder


def linear(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember the output of a linear layer, and find what heads write through it."""
    weight = given["weight"]
    if weight.ndim == 2 and weight.is_floating_point():
        layer(seen, given["input"], weight.mT, out)


def addmm(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember b + x W, as in the Conv1D of GPT-2."""
    if given["beta"] == given["alpha"] == 1:
        layer(seen, given["mat1"], given["mat2"], out)


def add(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember the bias of a linear layer that torch adds by itself."""
    origin, bias = seen.origin(given["self"]), given["other"]
    if not isinstance(origin, Projected) or not isinstance(bias, Tensor):
        return
    vector = bias.ndim == 1 and bias.shape == out.shape[-1:] and given["alpha"] == 1
    if origin.current and vector and seen.is_parameter(bias):
        x = origin.x
        if reshaped(origin.values, given["self"]):  # torch multiplied rows of features
            x = x.reshape(*out.shape[:-1], x.shape[-1])
        seen.mark(out, projected(x, origin.weight, out))


def reshaped(values: Tensor, view: Tensor) -> bool:
    """Return True for a view that has all rows of the values in their order."""
    return (
        values.shape != view.shape
        and values.shape[-1:] == view.shape[-1:]
        and values.numel() == view.numel()
        and values.data_ptr() == view.data_ptr()
        and values.is_contiguous()
        and view.is_contiguous()
    )


def convolution(seen: Recorder, given: dict[str, Any], out: Any) -> None:
    """Remember a convolution of kernel size 1, channels last."""
    weight, x = given["weight"], given["input"]
    spatial = x.ndim - 2
    plain = given["groups"] == 1 and given["padding"] in (0, [0], [0] * spatial)
    plain = plain and not given.get("transposed", False)
    pixel = spatial == weight.ndim - 2 and weight[0, 0].numel() == 1
    if plain and pixel and out.shape[2:] == x.shape[2:]:
        layer(seen, x, weight.flatten(1).mT, out, channels_last=False)


def layer(
    seen: Recorder, x: Tensor, weight: Tensor, out: Tensor, channels_last: bool = True
) -> None:
    """Remember x W + b, and find what heads write through W."""
    if seen.modules.silent or x.is_nested or not x.is_floating_point():
        return
    origin = seen.origin(x)
    features, values = (x, out) if channels_last else (x.flatten(2).mT, out.flatten(2).mT)
    if isinstance(origin, Written):
        seen.wrote(origin, features, weight)
    if isinstance(origin, Softmax):  # heads may be mixed
        seen.mark(out, replace(origin, shape=(), corner=None, blocked=None))
        return
    seen.mark(out, projected(features, weight, values))


HANDLERS = {
    "linear": linear,
    "addmm": addmm,
    "conv1d": convolution,
    "conv2d": convolution,
    "conv3d": convolution,
    "convolution": convolution,
    "add": add,
}
