"""Forward of a module whose attention has a response."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.errors import InputError
from gspnl.nn.attention_calls.filtering import Filtering
from gspnl.nn.attention_responses import AttentionResponse, Mask
from gspnl.nn.multi_head.layouts import dense

CHILD = "response_"  # name of the response in the module that holds the attention
HOOK = "_response_hook"
LOOKED_FOR = (
    "torch's scaled_dot_product_attention and multi_head_attention_forward, and a softmax over the "
    "last axis that is multiplied into values"
)


class FilteredForward:
    """Run the forward of a module with its response in every attention.

    It is the attribute ``forward`` of the instance, so that the class of the module, its parameters
    and their names stay; copies and pickles of the module take it along.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module
        self.before: Callable[..., Any] | None = vars(module).get("forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module
        response: AttentionResponse = getattr(module, CHILD)
        mode = Filtering(response, batch_sizes(args, kwargs))
        plain = self.before or functools.partial(type(module).forward, module)
        out, keep = run(mode, module, plain, args, kwargs)
        if mode.calls == 0:
            raise InputError(
                f"{self.name!r} ({type(module).__name__}) computed no attention that can be seen: "
                f"looked for {LOOKED_FOR}; name the module that computes it, and switch flex or "
                "other kernels to torch's fused attention or to eager attention"
            )
        if response.finishes:
            if mode.calls > 1:
                raise InputError(
                    f"response {response.name!r} acts on the output of one attention, and "
                    f"{self.name!r} computed {mode.calls}; name one of its modules"
                )
            out = _finished(self.name, module, response, out, mode.mask)
        return nested(out, keep)


def batch_sizes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    """Return the sizes that the batch of a call may have: those of the first tensor's two axes."""
    given = (*args, *kwargs.values())
    first = next((each for each in given if isinstance(each, Tensor)), None)
    return () if first is None or first.is_nested else (1, *first.shape[:2])


def run(
    mode: Filtering,
    module: nn.Module,
    forward: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Any, Tensor | None]:
    """Call a forward, filtered; return its output, and the mask of tokens that were nested."""
    args, kwargs, keep = _without_nesting(module, args, kwargs)
    with mode:
        return forward(*args, **kwargs), keep


def nested(out: Any, keep: Tensor | None) -> Any:
    """Nest the first output again, where :func:`run` padded it."""
    if keep is None:
        return out
    return torch._nested_tensor_from_mask(out[0], keep, mask_check=False), *out[1:]


def keep_fast_paths_off(module: nn.Module, args: Any) -> None:
    """Do nothing, as a forward pre-hook: torch's encoder layers are not fused where one is."""


def _finished(
    name: str, module: nn.Module, response: AttentionResponse, out: Any, mask: Mask
) -> Any:
    """Apply a response to the tokens that a module gives."""
    first = out[0] if isinstance(out, tuple) else out
    ok = isinstance(first, Tensor) and first.ndim in (2, 3)
    if not ok or first.shape[-1] != response.channels:
        shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        raise InputError(
            f"response {response.name!r} acts on tokens (B, N, {response.channels}), and {name!r} "
            f"gives {shape}; name the module of the attention itself"
        )
    tokens_first = isinstance(module, nn.MultiheadAttention) and not module.batch_first
    single = first.ndim == 2
    tokens = first[None] if single else first.transpose(0, 1) if tokens_first else first
    if mask.mask is not None and mask.mask.shape[-1] not in (1, tokens.shape[1]):
        mask = Mask()  # the nodes of this attention are no tokens, but channels
    tokens = response.finished(tokens, mask)
    tokens = tokens[0] if single else tokens.transpose(0, 1) if tokens_first else tokens
    return (tokens, *out[1:]) if isinstance(out, tuple) else tokens


def _without_nesting(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Tensor | None]:
    """Pad the nested tensors that torch's encoder gives its MultiheadAttention."""
    query = args[0] if args else kwargs.get("query")
    if not isinstance(module, nn.MultiheadAttention) or not (
        isinstance(query, Tensor) and query.is_nested
    ):
        return args, kwargs, None
    given = inspect.signature(nn.MultiheadAttention.forward).bind(module, *args, **kwargs).arguments
    given.pop("self")
    signals = (given["query"], given["key"], given["value"])
    (query, key, value), keep, padding = dense(signals, given.get("key_padding_mask"))
    return (
        (),
        {**given, "query": query, "key": key, "value": value, "key_padding_mask": padding},
        keep,
    )
