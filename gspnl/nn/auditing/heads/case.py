"""One attention head on one item of a batch, as arrays in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gspnl.errors import InputError
from gspnl.nn.attention_calls.call import AttentionCall
from gspnl.nn.auditing.heads.masks import Nodes, mask_of, shape_of

SUMS = 1e-5  # deviation of row sums from 1 that weights may have in single precision


@dataclass(frozen=True, eq=False)
class HeadCase:
    """One head on one item.

    Attributes
    ----------
    call : AttentionCall
    item, head : int
    nodes : Nodes
    square : bool
        Whether queries and keys are the same nodes.
    """

    call: AttentionCall
    item: int
    head: int
    nodes: Nodes
    square: bool

    @property
    def name(self) -> str:
        """Name of the head, for errors."""
        return f"{place(self.call)}, head {self.head}, item {self.item}"

    @property
    def total(self) -> int:
        """N, with the nodes that were removed."""
        return shape_of(self.call)[2]

    @property
    def rounding(self) -> float:
        """Relative rounding of the entries of A: that of weights in their dtype."""
        weights = self.call.weights
        return float(torch.finfo(torch.float64 if weights is None else weights.dtype).eps)

    @property
    def has_inputs(self) -> bool:
        """Whether the features that reached the layer are known, a row per node."""
        inputs = self.call.inputs
        return inputs is not None and inputs.shape[:2] == (shape_of(self.call)[0], self.total)

    def key_head(self, tensor: Tensor) -> Tensor:
        """Return the head of keys or values that this head of queries uses, (M, c)."""
        head = self.head * tensor.shape[1] // shape_of(self.call)[1]
        return tensor[self.item, head]

    def query(self) -> np.ndarray:
        """Return the queries that take part, times the scale, (n, r)."""
        assert self.call.q is not None
        q = as_float64(self.call.q[self.item, self.head])
        scaled: np.ndarray = self.call.scale * q[self.nodes.rows]
        return scaled

    def key(self) -> np.ndarray:
        """Return the keys that take part, (m, r)."""
        assert self.call.k is not None
        keys: np.ndarray = as_float64(self.key_head(self.call.k))[self.nodes.columns]
        return keys

    def value(self) -> np.ndarray | None:
        """Return the values that take part, (m, c)."""
        if self.call.v is None:
            return None
        values: np.ndarray = as_float64(self.key_head(self.call.v))[self.nodes.columns]
        return values

    def written(self, Y: np.ndarray | None) -> np.ndarray | None:
        """Return what the head writes, (n, C): Y = A V times W_O, where that is known."""
        if Y is None or self.call.output_weight is None:
            return Y
        written: np.ndarray = Y @ as_float64(self.call.output_weight[self.head])
        return written

    def features(self) -> np.ndarray | None:
        """Return the input features of the layer at the nodes that take part, or the values."""
        if not self.has_inputs:
            return self.value()
        assert self.call.inputs is not None
        features: np.ndarray = as_float64(self.call.inputs[self.item])[self.nodes.rows]
        return features


def place(call: AttentionCall) -> str:
    """Name the attention, for errors."""
    again = f", call {call.call}" if call.call else ""
    return f"layer {call.layer!r}{again}"


def as_float64(tensor: Tensor) -> np.ndarray:
    """Return a tensor of any device and dtype as a NumPy array in float64."""
    array: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def log_weights(case: HeadCase) -> np.ndarray:
    r"""Return log A, (n, m): −∞ where a mask excludes a key.

    From q and k it is :math:`s_{ij} - \log\sum_j e^{s_{ij}}` in float64; weights are divided by
    their row sums.

    Raises
    ------
    InputError
        For NaN, negative weights, or rows that do not sum to 1.
    """
    call, nodes = case.call, case.nodes
    kept = np.ix_(nodes.rows, nodes.columns)
    if call.weights is not None:
        A = as_float64(call.weights[case.item, case.head])
        check_weights(A[nodes.rows], case)
        A = A[kept]
        with np.errstate(divide="ignore"):
            scores: np.ndarray = np.log(A)
    else:
        scores = case.query() @ case.key().T
        mask = mask_of(call, case.item, case.head)
        if mask is not None:
            if mask.dtype == torch.bool:
                scores[~mask.cpu().numpy()[kept]] = -np.inf
            else:
                scores += as_float64(mask)[kept]
        if call.causal:
            scores[nodes.columns > nodes.rows[:, None]] = -np.inf
    top = scores.max(1, keepdims=True)
    check_scores(scores, top, case)
    scores -= top
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    return scores


def check_scores(scores: np.ndarray, top: np.ndarray, case: HeadCase) -> None:
    """Check scores (n, m), whose largest of each row are ``top``."""
    if not np.isfinite(top).all() or np.isnan(scores).any():
        raise InputError(
            f"{case.name}: scores are not finite (NaN or ∞ in queries, keys or the mask); see what "
            "the layers before it make of this batch"
        )


def check_weights(A: np.ndarray, case: HeadCase) -> None:
    """Check that rows of weights are ≥ 0 and sum to 1 within the rounding of their dtype."""
    assert case.call.weights is not None
    if not np.isfinite(A).all():
        raise InputError(
            f"{case.name}: weights are not finite; see what the layers before it make of this batch"
        )
    if A.min() < 0:
        raise InputError(
            f"{case.name}: weights have entries down to {A.min():.2g}, and those of a softmax are "
            "≥ 0; give the weights after the softmax"
        )
    sums = A.sum(1)
    worst = float(np.abs(sums - 1).max())
    if worst > max(SUMS, 4 * torch.finfo(case.call.weights.dtype).eps):
        raise InputError(
            f"{case.name}: rows of the weights sum to {sums.min():.3g} to {sums.max():.3g}, not to "
            "1; give the weights after the softmax, in evaluation mode (dropout scales them)"
        )
