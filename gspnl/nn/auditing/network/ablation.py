"""Silence one head of a network for a while, and measure what changes on a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.case import as_float64
from gspnl.nn.auditing.network.depth import off_mean, share_off_mean

Observe = Callable[[], tuple[Sequence[AttentionCall], Any]]  # one forward pass: calls, and output


@dataclass(frozen=True)
class Ablation:
    """What a network computes on a batch without one head.

    Attributes
    ----------
    layer : str
    head : int
    off_mean : pair of float, or None
        Share of the features off their token mean at the last layer whose input is known and that
        comes after the head, with the head and without.
    output_off_mean : pair of float, or None
        The same for the output of the network, where it is tokens (B, N, C).
    output_change : float
        ‖output without − output with‖ / ‖output with‖, in the Frobenius norm.
    where : str
        Name of the layer at which ``off_mean`` was taken.
    """

    layer: str
    head: int
    off_mean: tuple[float, float] | None
    output_off_mean: tuple[float, float] | None
    output_change: float
    where: str = ""

    @property
    def rise(self) -> float | None:
        """Relative rise of the share off the mean without the head; None where none is known."""
        pair = self.off_mean or self.output_off_mean
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
        part = weight[:, columns] if columns.step is None else weight[columns.start : columns.stop]
        kept = part.clone()
        try:
            part.zero_()
            yield
        finally:
            part.copy_(kept)


def output_slice(model: nn.Module, call: AttentionCall, head: int) -> tuple[Tensor, slice]:
    """Return the parameter W_O and the slice of a head: of columns, or of rows (step 1)."""
    if call.output_weight is None:
        raise InputError(f"W_O of layer {call.layer!r} is not known")
    heads, size, channels = call.output_weight.shape
    stacked = call.output_weight.reshape(heads * size, channels)
    begin, end = head * size, (head + 1) * size
    named = sorted(
        model.named_parameters(), key=lambda pair: not pair[0].startswith(f"{call.layer}.")
    )
    for _, weight in named:
        if weight.shape == (channels, heads * size) and torch.equal(weight.mT, stacked):
            return weight, slice(begin, end)
        if weight.shape == stacked.shape and torch.equal(weight, stacked):
            return weight, slice(begin, end, 1)
    raise InputError(f"W_O of layer {call.layer!r} is no parameter of the model as it is")


def ablate(
    model: nn.Module,
    observe: Observe,
    calls: Sequence[AttentionCall],
    output: Any,
    index: int,
    head: int,
) -> Ablation:
    """Run the network once more without one head, and compare.

    Parameters
    ----------
    model : Module
    observe : callable
        Runs the network on the batch, and returns its attention and output.
    calls : sequence of AttentionCall
        With the head, in the order of execution.
    output : any
        Of the network, with the head.
    index, head : int
        The call and its head.

    Raises
    ------
    InputError
        If the head cannot be silenced.
    """
    with silenced(model, calls[index], head):
        others, changed = observe()
    last = max(
        (i for i in range(index + 1, len(calls)) if off_mean(calls[i]) is not None), default=None
    )
    pair = where = None
    if last is not None and len(others) == len(calls):
        before, after = off_mean(calls[last]), off_mean(others[last])
        if before is not None and after is not None:
            pair, where = (before, after), calls[last].layer
    first, second = first_tensor(output), first_tensor(changed)
    return Ablation(
        calls[index].layer, head, pair, _output_pair(first, second), _change(first, second),
        where or "",
    )  # fmt: skip


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


def _output_pair(first: np.ndarray | None, second: np.ndarray | None) -> tuple[float, float] | None:
    """Return the shares off the token mean of outputs (B, N, C)."""
    if first is None or second is None or first.ndim != 3 or first.shape != second.shape:
        return None
    means = []
    for each in (first, second):
        shares = [share_off_mean(x) for x in each]
        if any(share is None for share in shares):
            return None
        means.append(float(np.mean([share for share in shares if share is not None])))
    return means[0], means[1]
