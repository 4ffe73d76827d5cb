"""Layouts of the outputs that blocks follow: feature maps, and tokens with channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.block import Block
from gspnl.nn.surgery.targets import CHILD, outer_modules

CHANNELS_FIRST = "channels_first"
TOKENS = "tokens"
SEQUENCE_FIRST = "sequence_first"
SHAPES = {CHANNELS_FIRST: "(B, C, *spatial)", TOKENS: "(B, N, C)", SEQUENCE_FIRST: "(N, B, C)"}
ATTENTION = ("attention", "attn")


def call_on_tokens(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Forward hook: call the block on tokens (B, N, C)."""
    return _on_first(module, output, TOKENS, lambda x: x.mT, lambda y: y.mT)


def call_on_sequence(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Forward hook: call the block on tokens (N, B, C)."""
    return _on_first(
        module, output, SEQUENCE_FIRST, lambda x: x.permute(1, 2, 0), lambda y: y.permute(2, 0, 1)
    )


HOOKS = {TOKENS: call_on_tokens, SEQUENCE_FIRST: call_on_sequence}


def _on_first(
    module: nn.Module,
    output: Any,
    layout: str,
    to_map: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Any:
    """Replace an output, or the first of several, by the block's."""
    block: Block = getattr(module, CHILD)
    tokens = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(tokens, Tensor) or tokens.is_nested or tokens.ndim != 3:
        kind = "a nested tensor" if getattr(tokens, "is_nested", False) else type(tokens).__name__
        shape = f" of shape {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else ""
        raise InputError(
            f"a block that was inserted after {type(module).__name__} for tokens "
            f"{SHAPES[layout]} got {kind if kind != 'Tensor' else 'a tensor'}{shape}; insert it "
            "with example= and another layout=, or after another module"
        )
    # Contiguous as the output was: networks view it.
    result = back(block(to_map(tokens))).contiguous()
    return (result, *output[1:]) if isinstance(output, tuple) else result


def holds_attention(module: nn.Module) -> bool:
    """Return True if the class of a module, or of one inside of it, is called attention."""
    kinds = {kind for _, each in outer_modules(module) for kind in type(each).__mro__}
    return any(word in kind.__name__.lower() for kind in kinds for word in ATTENTION)


def widths_of_last_axes(module: nn.Module) -> Iterator[int]:
    """Yield the widths of the norms and attentions that act on the last axis."""
    for _, each in outer_modules(module):
        if isinstance(each, (nn.LayerNorm, nn.RMSNorm)) and len(each.normalized_shape) == 1:
            yield int(each.normalized_shape[0])
        elif isinstance(each, nn.MultiheadAttention):
            yield int(each.embed_dim)


def check_batch_first(name: str, module: nn.Module) -> None:
    """Raise InputError if the order of tokens and batch cannot be told."""
    for _, each in outer_modules(module):
        if isinstance(each, nn.MultiheadAttention) and not each.batch_first:
            raise InputError(
                f"{name!r} holds a MultiheadAttention with batch_first=False, and may give tokens "
                "(N, B, C) or (B, N, C); pass layout='sequence_first' or layout='tokens'"
            )
