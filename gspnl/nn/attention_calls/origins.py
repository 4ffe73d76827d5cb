"""Origins of tensors while a network runs: which projection, scores or softmax they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Projected:
    """Values of x W + b, rearranged; changed by other operations too where not ``exact``."""

    x: Tensor
    weight: Tensor  # (C, width)
    bias: Tensor | None
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Scores:
    """Products of queries and keys, with where these come from."""

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True, eq=False)
class Softmax:
    """Weights of a softmax along an axis, possibly rearranged.

    ``blocked`` is True where a mask took a key out, None where nowhere; ``empty`` says that rows
    without any key became NaN.
    """

    shape: tuple[int, ...]
    blocked: Tensor | None
    empty: bool
    scores: Scores | None


@dataclass(frozen=True, eq=False)
class Written:
    """What the attention of a given number wrote, rearranged."""

    number: int


Origin = Projected | Scores | Softmax | Written

# Operations of torch that rearrange entries, or change their dtype.
REARRANGING = frozenset((
    "view", "reshape", "_unsafe_view", "_reshape_alias", "view_as", "reshape_as", "permute",
    "transpose", "t", "mT", "mH", "numpy_T", "swapaxes", "swapdims", "movedim", "moveaxis",
    "chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split",
    "unbind", "select", "slice", "narrow", "squeeze", "unsqueeze", "expand", "expand_as",
    "contiguous", "clone", "flatten", "unflatten", "alias", "detach", "matrix_H", "adjoint", "to",
    "_to_copy", "type_as", "dropout", "feature_dropout", "native_dropout", "lift_fresh", "repeat",
    "repeat_interleave", "roll", "index_select", "index",
))  # fmt: skip
# Operations that change values, and leave it to a later check what became of them.
CHANGING = frozenset((
    "mul", "mul_", "div", "div_", "true_divide", "add", "add_", "sub", "sub_", "neg",
    "masked_fill", "masked_fill_", "where", "nan_to_num", "nan_to_num_", "clamp", "clamp_",
    "tril", "triu", "cat", "concat", "stack", "layer_norm", "rms_norm",
))  # fmt: skip
_MASKED = 1000.0  # scores that are lower than their row's maximum by more are masked


def changed(origin: Origin) -> Origin | None:
    """Return the origin of values computed from those of an origin."""
    if isinstance(origin, Projected):
        return replace(origin, exact=False)
    return origin if isinstance(origin, (Scores, Softmax)) else None


def of_softmax(scores: Tensor, weights: Tensor, axis: int, origin: Origin | None) -> Softmax:
    """Return the origin of a softmax's result, with the keys that a mask took out."""
    blocked, empty = None, False
    if bool((weights == 0).any()):
        top = scores.amax(dim=axis, keepdim=True)
        found = (weights == 0) & (scores < top - _MASKED)
        blocked = found if bool(found.any()) else None
    if bool(weights.isnan().any()):
        gone = (scores == -torch.inf).all(dim=axis, keepdim=True)
        empty = bool(gone.any())
    known = origin if isinstance(origin, Scores) else None
    return Softmax(tuple(weights.shape), blocked, empty, known)
