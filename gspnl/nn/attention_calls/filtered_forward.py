"""Forward of a module whose attention has a response."""

from __future__ import annotations

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
        args, kwargs, keep = _without_nesting(module, args, kwargs)
        mode = Filtering(response)
        with mode:
            if self.before is not None:
                out = self.before(*args, **kwargs)
            else:
                out = type(module).forward(module, *args, **kwargs)
        if mode.calls == 0:
            raise InputError(
                f"{self.name!r} ({type(module).__name__}) computed no attention that can be seen: "
                f"looked for {LOOKED_FOR}; name the module that computes it, and switch flex or "
                "other kernels of the network's own to torch's fused attention or to eager attention"
            )
        if response.finishes:
            if mode.calls > 1:
                raise InputError(
                    f"response {response.name!r} acts on the output of one attention, and "
                    f"{self.name!r} computed {mode.calls}; name one of its modules"
                )
            out = _finished(self.name, module, response, out, mode.mask)
        if keep is not None:
            nested = torch._nested_tensor_from_mask(out[0], keep, mask_check=False)
            return nested, *out[1:]
        return out


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
