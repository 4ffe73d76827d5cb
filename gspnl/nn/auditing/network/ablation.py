"""Silence one head of a network for a while, and measure what changes on a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import as_float64
from gspnl.nn.auditing.heads.masks import shape_of
from gspnl.nn.auditing.network.depth import off_mean_of

Last = Mapping[tuple[int, int], tuple[str, Tensor]]  # the last features of each shape (N, C)


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass of a network on a batch.

    Attributes
    ----------
    calls : sequence of AttentionCall
        In the order of execution.
    output : any
        Of the network.
    last : mapping of (int, int) to (str, Tensor)
        By (N, C), the last module that gave features (B, N, C), with its name.
    """

    calls: Sequence[AttentionCall]
    output: Any
    last: Last


Observe = Callable[[], Pass]


@dataclass(frozen=True)
class Ablation:
    """What a network computes on a batch without one head.

    Attributes
    ----------
    layer : str
    head : int
    off_mean : pair of float, or None
        Share of the features off their token mean at the last module that gives features of the
        head's tokens and channels, with the head and without.
    output_change : float
        ‖output without − output with‖ / ‖output with‖, in the Frobenius norm.
    where : str
        Name of the module at which ``off_mean`` was taken.
    shared : int
        Attentions that write through the same W_O; the head is silenced in all of them.
    """

    layer: str
    head: int
    off_mean: tuple[float, float] | None
    output_change: float
    where: str = ""
    shared: int = 1

    @property
    def rise(self) -> float | None:
        """Relative rise of the share off the mean without the head; None where none is known."""
        pair = self.off_mean
        return None if pair is None or pair[0] == 0 else pair[1] / pair[0] - 1


@contextmanager
def silenced(model: nn.Module, call: AttentionCall, head: int) -> Iterator[None]:
    """Zero the slice of W_O that a head writes through; the weight is restored bit by bit.

    The weight is found among the model's parameters as the one that equals ``output_weight``.

    Raises
    ------
    InputError
        If no parameter of the model is this W_O.
    """
    weight, columns = output_slice(model, call, head)
    with torch.no_grad():
        own = weight.data  # its changes are not counted, so that a pending backward goes on
        part = own[:, columns] if columns.step is None else own[columns.start : columns.stop]
        kept = part.clone()
        try:
            part.zero_()
            yield
        finally:
            part.copy_(kept)


def output_slice(model: nn.Module, call: AttentionCall, head: int) -> tuple[Tensor, slice]:
    """Return the parameter W_O and the slice of a head: of columns, or of rows (step 1)."""
    weight, rows = output_parameter(model, call)
    assert call.output_weight is not None
    size = call.output_weight.shape[1]
    return weight, slice(head * size, (head + 1) * size, 1 if rows else None)


def output_parameter(model: nn.Module, call: AttentionCall) -> tuple[Tensor, bool]:
    """Return the parameter W_O of an attention, and whether its rows are the heads' channels.

    Of parameters that are equal (copies of a layer) it is the one whose name has most in common
    with the layer's.
    """
    if call.output_weight is None:
        raise InputError(f"W_O of layer {call.layer!r} is not known")
    heads, size, channels = call.output_weight.shape
    stacked = call.output_weight.reshape(heads * size, channels)

    def distance(pair: tuple[str, Tensor]) -> int:
        names = zip(pair[0].split("."), call.layer.split("."), strict=False)
        return -len(list(takewhile(lambda both: both[0] == both[1], names)))

    for _, weight in sorted(model.named_parameters(), key=distance):
        if weight.shape == (channels, heads * size) and torch.equal(weight.mT, stacked):
            return weight, False
        if weight.shape == stacked.shape and torch.equal(weight, stacked):
            return weight, True
    raise InputError(f"W_O of layer {call.layer!r} is no parameter of the model as it is")


def ablate(model: nn.Module, observe: Observe, before: Pass, index: int, head: int) -> Ablation:
    """Run the network once more without one head, and compare.

    Parameters
    ----------
    model : Module
    observe : callable
        Runs the network on the batch.
    before : Pass
        With the head.
    index, head : int
        The call and its head.

    Raises
    ------
    InputError
        If the head cannot be silenced.
    """
    call = before.calls[index]
    with silenced(model, call, head):
        after = observe()
    assert call.output_weight is not None
    pair, where = _features(before.last, after.last, shape_of(call)[2], call.output_weight.shape[2])
    change = _change(first_tensor(before.output), first_tensor(after.output))
    shared = _sharing(model, before.calls, call)
    return Ablation(call.layer, head, pair, change, where, shared)


def _features(
    before: Last, after: Last, nodes: int, channels: int
) -> tuple[tuple[float, float] | None, str]:
    """Return the shares off the token mean of the last features (B, N, C), and their module."""
    if (nodes, channels) not in before or (nodes, channels) not in after:
        return None, ""
    (where, first), (_, second) = before[nodes, channels], after[nodes, channels]
    shares = [off_mean_of(each) for each in (first, second)]
    if shares[0] is None or shares[1] is None:
        return None, ""
    return (shares[0], shares[1]), where or "the output"


def _sharing(model: nn.Module, calls: Sequence[AttentionCall], call: AttentionCall) -> int:
    """Count the attentions that write through the W_O of one."""
    weight, _ = output_parameter(model, call)
    known = [each for each in calls if each.output_weight is not None]
    shared = [each for each in known if _parameter(model, each) is weight]
    return len(shared)


def _parameter(model: nn.Module, call: AttentionCall) -> Tensor | None:
    try:
        return output_parameter(model, call)[0]
    except InputError:
        return None


def first_tensor(output: Any) -> np.ndarray | None:
    """Return the first floating tensor of an output, in float64; None where there is none."""
    leaves = tree_leaves(dict(output) if isinstance(output, dict) else output)
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return as_float64(leaf)
    return None


def _change(first: np.ndarray | None, second: np.ndarray | None) -> float:
    if first is None or second is None or first.shape != second.shape:
        return float("nan")
    size = float(np.linalg.norm(first))
    return float(np.linalg.norm(second - first)) / size if size else float("nan")
