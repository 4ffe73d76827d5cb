"""Observe the attention of any torch network on a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.attention_calls.given import checked
from gspnl.nn.attention_calls.mode import watching
from gspnl.nn.attention_calls.recorder import OnCall, Recorder
from gspnl.nn.attention_calls.unseen import unseen
from gspnl.nn.surgery.batches import run
from gspnl.nn.surgery.shapes import evaluation


class Calls(list[AttentionCall]):
    """Attention of a network in the order of execution.

    Attributes
    ----------
    unseen : tuple of str
        A sentence for each module that may have attention that was not seen.
    """

    def __init__(self, calls: Iterable[AttentionCall] = (), unseen: tuple[str, ...] = ()) -> None:
        super().__init__(calls)
        self.unseen = unseen


def observe(
    model: nn.Module,
    batch: Any,
    attention: Mapping[str, Callable[..., Any]] | None = None,
    on_call: OnCall | None = None,
) -> Calls:
    r"""Run a network once, and return its attention in the order of execution.

    Seen are ``scaled_dot_product_attention``, ``nn.MultiheadAttention`` and
    ``nn.TransformerEncoder`` with their fast paths, and a softmax over keys that is multiplied into
    values by a matrix product. The network computes what it computes otherwise, bit for bit. Blocks
    of gspnl are left out.

    Parameters
    ----------
    model : Module
        It is run once, in evaluation mode, without gradients; modes, buffers and the random state
        are restored.
    batch : tensor, tuple or mapping
        Input of the model: one argument, all positional arguments, or keyword arguments.
    attention : mapping of names of modules to functions, optional
        Gives the attention of these modules, in the place of what is seen in them. A function is
        called after the module with (module, args, output), or (module, args, kwargs, output). It
        returns the weights, (B, H, N, M) or (B, N, M), or a mapping with q and k and optionally v,
        mask, causal and scale, as in :class:`AttentionCall`.
    on_call : callable, optional
        Takes each call as soon as it is complete. The calls are not kept then: the list is empty.

    Returns
    -------
    list of AttentionCall
        Also with ``unseen``: a sentence for each module that may have attention that was not seen,
        since its class is named so, or since its softmax is used in another way.

    Raises
    ------
    InputError
        For a batch that the model cannot run, for queries, keys or weights that are not finite, for
        names that the model has not, and for functions that return no attention.

    Notes
    -----
    Operations are watched below autograd, on any device; kernels of CUDA (flash, memory-efficient,
    cuDNN) were tested with stand-ins only. Modules that ``torch.compile`` compiled run uncompiled.
    Nothing is seen in other threads (``nn.DataParallel`` on several devices).

    Examples
    --------
    >>> import torch
    >>> from gspnl.nn.attention_calls import observe
    >>> layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> (call,) = observe(layer, torch.randn(2, 10, 16))
    >>> call.layer, tuple(call.q.shape), tuple(call.value_weight.shape)
    ('self_attn', (2, 4, 10, 4), (4, 16, 4))
    """
    functions = checked(model, attention)
    calls, layers = Calls(), set[str]()

    def deliver(call: AttentionCall) -> None:
        layers.add(call.layer)
        (on_call or calls.append)(call)

    with evaluation(model), _uncompiled(model):
        seen = _watched(model, batch, functions, deliver)
    calls.unseen = unseen(seen, layers)
    return calls


def _watched(
    model: nn.Module,
    batch: Any,
    functions: Mapping[str, Callable[..., Any]],
    on_call: OnCall,
) -> Recorder:
    seen = Recorder(model, functions, on_call)
    with watching(seen, functions) as watch:
        try:
            run(model, batch)
        except Exception:
            if watch.failure is None:
                raise
        if watch.failure is not None:  # the network may have caught it
            raise watch.failure
        seen.finish()
    missing = [name for name in functions if name not in seen.modules.entered]
    if missing:
        raise InputError(
            f"attention has {missing[0]!r}, and this batch never calls that module; name one that "
            "runs"
        )
    return seen


@contextmanager
def _uncompiled(model: nn.Module) -> Iterator[None]:
    """Run what torch.compile compiled as it is written."""
    compiled = any(
        hasattr(each, "_torchdynamo_orig_callable") or each._compiled_call_impl is not None
        for each in model.modules()
    )
    if "torch._dynamo" not in sys.modules or not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
