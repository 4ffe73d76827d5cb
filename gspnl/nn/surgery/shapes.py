"""Determine the channels of a module's output: by running the network, or from its layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.surgery.layouts import (
    CHANNELS_FIRST,
    HOOKS,
    SHAPES,
    TOKENS,
    check_batch_first,
    holds_attention,
    widths_of_last_axes,
)
from gspnl.nn.surgery.targets import outer_modules

CHANNELS_LAYERS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, Block)
LAST_LAYERS = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.MultiheadAttention)
RESHAPES = (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle)
WIDTHS = (
    "out_channels", "num_features", "num_channels", "channels", "out_features", "embed_dim",
    "embedding_dim",
)  # fmt: skip
OF_TOKENS = (
    nn.LayerNorm,
    nn.Embedding,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
)
REMEDY = "pass layout='channels_first' or layout='tokens'"
Example = Tensor | tuple[Any, ...] | Mapping[str, Any]


def record_outputs(
    model: nn.Module, modules: Mapping[str, nn.Module], example: Example
) -> dict[str, Any]:
    """Run the network once, and return the outputs of some of its modules.

    The run is in evaluation mode and changes nothing in the network, see :func:`evaluation`.

    Parameters
    ----------
    model : Module
    modules : mapping of names to modules of the network
    example : tensor, tuple or mapping
        The argument of the network, all its positional arguments, or its keyword arguments.

    Returns
    -------
    dict
        The output of each module.

    Raises
    ------
    InputError
        If the example does not pass through the network, or if one of the modules is not called
        exactly once.
    """
    args, kwargs = _arguments(example)
    seen: dict[str, list[Any]] = {name: [] for name in modules}
    with ExitStack() as stack:
        for name, module in modules.items():
            handle = module.register_forward_hook(
                lambda _, args, output, name=name: seen[name].append(output)
            )
            stack.callback(handle.remove)
        stack.enter_context(evaluation(model))
        try:
            model(*args, **kwargs)
        except Exception as error:
            raise InputError(
                f"the example does not pass through the network: {type(error).__name__}: {error}"
            ) from error
    for name, outputs in seen.items():
        _check_once(name, len(outputs))
    return {name: outputs[0] for name, outputs in seen.items()}


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; modes, buffers and random state are restored at the end.

    Buffers are restored whether the forward changes them in place or assigns new ones.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    cuda = {each.device.index for each in model.parameters() if each.is_cuda}
    try:
        try:
            model.eval()
        except NotImplementedError:  # a program of torch.export, which has one mode
            for module, _ in modes:
                module.training = False
        with torch.no_grad(), torch.random.fork_rng(devices=sorted(cuda)):
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                if getattr(module, name) is not buffer:
                    setattr(module, name, buffer)
                if not (buffer.is_meta or torch.equal(buffer, before)):
                    buffer.copy_(before)


def channels_of_output(
    name: str, module: nn.Module, output: Any, layout: str | None = None
) -> tuple[int, str]:
    """Return the channels C of an output and its layout, which is decided where it is None.

    Raises
    ------
    InputError
        If the output has another layout, or one that cannot be told.
    """
    given = layout or CHANNELS_FIRST
    if isinstance(output, tuple) and output and layout in HOOKS:
        output = output[0]
    if not isinstance(output, Tensor):
        raise InputError(
            f"{name!r} gives a {type(output).__name__}, and a block follows one tensor "
            f"{SHAPES[given]}; name a module inside of it"
        )
    shape = tuple(output.shape)
    dims = (3,) if layout in HOOKS else (3, 4, 5)
    if output.ndim not in dims or 0 in shape or not output.is_floating_point():
        wanted = "" if layout in HOOKS else " with one to three spatial dimensions, none empty"
        raise InputError(
            f"{name!r} gives {output.dtype} of shape {shape}, and a block follows floating-point "
            f"tensors {SHAPES[given]}{wanted}"
        )
    if layout is None:
        layout = _decided(name, module, shape)
    return shape[1] if layout == CHANNELS_FIRST else shape[-1], layout


def _decided(name: str, module: nn.Module, shape: tuple[int, ...]) -> str:
    """Decide the layout of an output by the layers of its module."""
    last = _last_layer(module)
    if _width(last, CHANNELS_LAYERS) is not None:
        return CHANNELS_FIRST
    end, attention = _width(last, LAST_LAYERS), holds_attention(module)
    ends = set(widths_of_last_axes(module))
    if attention or isinstance(last, nn.Embedding):
        ends.add(end or 0)
    second = shape[1] in {*ends, end}
    if len(shape) > 3 or shape[-1] not in ends:
        if shape[-1] in {*ends, end} and not second:
            raise InputError(
                f"{name!r} ends in a {type(last).__name__} and gives {shape}: the last axis holds "
                "its channels, and a block needs them on the second; name a module whose output "
                "is (B, C, *spatial), or tokens (B, N, C) with layout='tokens'"
            )
        if attention and not second:
            raise InputError(
                f"{name!r} holds attention and gives {shape}, and its layers do not tell the axis "
                f"of its channels; {REMEDY}"
            )
        return CHANNELS_FIRST
    if second and not isinstance(module, OF_TOKENS):
        raise InputError(
            f"{name!r} gives {shape}, and its channels may be on the second or on the last axis; "
            f"{REMEDY}"
        )
    check_batch_first(name, module)
    return TOKENS


def tokens_of_layers(name: str, modules: Iterable[nn.Module]) -> int:
    """Return the channels of tokens by the last layer of the first module that has layers."""
    last = next(filter(None, map(_last_layer, modules)), None)
    width = _width(last, LAST_LAYERS)
    if width is None:
        raise InputError(
            f"the channels that {name!r} gives cannot be told from its modules; pass example=, a "
            "batch that the network takes"
        )
    return width


def layout_of_layers(name: str, modules: Iterable[nn.Module]) -> str:
    """Return "tokens" for a module of attention that ends in a map of the last axis."""
    nearest = next((each for each in modules if _last_layer(each) is not None), None)
    if nearest is None or not holds_attention(nearest):
        return CHANNELS_FIRST
    if _width(_last_layer(nearest), LAST_LAYERS) is None:
        return CHANNELS_FIRST
    check_batch_first(name, nearest)
    return TOKENS


def channels_of_layers(name: str, modules: Iterable[nn.Module]) -> int:
    """Return the channels of the last convolution or norm in the first module that has layers."""
    last = next(filter(None, map(_last_layer, modules)), None)
    width = _width(last, CHANNELS_LAYERS)
    if width is None:
        why = f"they end in a {type(last).__name__}" if last else "no convolution or norm is there"
        raise InputError(
            f"the channels that {name!r} gives cannot be told from its modules ({why}); pass "
            "example=, a batch that the network takes"
        )
    return width


def _arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, tuple):
        return example, {}
    if isinstance(example, Mapping):
        return (), dict(example)
    raise InputError(
        f"example must be a tensor, a tuple of arguments or a mapping of keyword arguments, "
        f"not {type(example).__name__}"
    )


def _check_once(name: str, times: int) -> None:
    if times == 0:
        raise InputError(
            f"{name!r} is not called when the network runs (its weights may be used without it), "
            "so nothing would follow it; name the module that holds it"
        )
    if times > 1:
        raise InputError(
            f"{name!r} is called {times} times when the network runs once, and so the block would "
            "be; name the module that holds it"
        )


def _last_layer(module: nn.Module) -> nn.Module | None:
    """Return the last layer, in the order of registration, that can change the channels."""
    last = None
    for _, layer in outer_modules(module):
        own = next(layer.parameters(recurse=False), None) is not None
        if isinstance(layer, (*CHANNELS_LAYERS, *LAST_LAYERS, *RESHAPES)) or (
            own and not isinstance(layer, nn.PReLU)
        ):
            last = layer
    return last


def _width(layer: nn.Module | None, kinds: tuple[type[nn.Module], ...]) -> int | None:
    if not isinstance(layer, kinds):
        return None
    for name in WIDTHS:
        width = getattr(layer, name, None)
        if isinstance(width, int):
            return width
    shape = getattr(layer, "normalized_shape", None)
    return shape[-1] if shape else None
