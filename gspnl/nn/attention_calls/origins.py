"""Origins of tensors while a network runs: which projection, scores or softmax they come from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gspnl.nn.attention_calls.masks import FAR


@dataclass(frozen=True, eq=False)
class Projected:
    """Values of x W + b, rearranged."""

    x: Tensor  # (..., C)
    weight: Tensor  # (C, width)
    values: Tensor  # x W + b
    versions: tuple[int, int]

    @property
    def current(self) -> bool:
        """True if neither x nor x W + b changed in place since."""
        return self.versions == (version(self.x), version(self.values))


def projected(x: Tensor, weight: Tensor, values: Tensor) -> Projected:
    """Return the origin of a linear layer's output."""
    # An alias, since origins are kept as long as the tensor that they belong to.
    alias = values.detach()
    return Projected(x, weight.detach(), alias, (version(x), version(alias)))


def version(tensor: Tensor) -> int:
    """Return how often a tensor changed in place, where torch counts it."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(frozen=True, eq=False)
class Derived:
    """Values computed from x W + b; x is not kept alive."""

    x: weakref.ref[Tensor]


@dataclass(frozen=True, eq=False)
class Scores:
    """Products of queries and keys.

    Attributes
    ----------
    cross : bool
        Whether queries and keys are known to be projected from different features.
    q, k : Tensor of shape (..., N, r) and (..., M, r), or None
        None where something was added to the products, or multiplied.
    """

    cross: bool
    q: Tensor | None = None
    k: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Softmax:
    """Weights of a softmax, possibly rearranged.

    Attributes
    ----------
    shape : tuple of int
        Of the weights with the softmax along the last axis; () where a linear layer mixed them.
    corner : Tensor of shape (..., M)
        The first row of each matrix, which tells one from another.
    blocked : Tensor or None
        True where a mask took a key out; None where nowhere.
    empty : bool
        Whether rows without any key became NaN.
    scores : Scores or None
        Where the scores come from.
    fused : bool
        Whether it belongs to torch's scaled_dot_product_attention.
    """

    shape: tuple[int, ...]
    corner: Tensor | None
    blocked: Tensor | None
    empty: bool
    scores: Scores | None
    fused: bool = False


@dataclass(frozen=True, eq=False)
class Written:
    """What the attention of a given number wrote, rearranged."""

    number: int


Origin = Projected | Derived | Scores | Softmax | Written

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


def carried(name: str, origins: Sequence[Origin | None]) -> Origin | None:
    """Return the origin of what an operation makes of tensors with given origins.

    Parameters
    ----------
    name : str
        Of the operation, one of ``REARRANGING`` or ``CHANGING``.
    origins : sequence of Origin or None
        Of its tensors that are not empty.
    """
    origin = next((each for each in origins if each is not None), None)
    joined_with_nothing = name in ("cat", "concat") and len(origins) == 1  # an empty cache
    if origin is None or name in REARRANGING or joined_with_nothing:
        return origin
    x = source(origin)
    if x is not None:
        sources = [source(each) for each in origins]
        mixed = any(each is not None and each is not x for each in sources)
        if mixed or (name.startswith(("add", "sub")) and None in sources):
            return None  # a residual, say
    return changed(origin)


def changed(origin: Origin) -> Origin | None:
    """Return the origin of values computed from those of an origin."""
    if isinstance(origin, Projected):
        return Derived(weakref.ref(origin.x))
    if isinstance(origin, Scores):
        return Scores(origin.cross)
    return None if isinstance(origin, Written) else origin


def source(origin: Origin | None) -> Tensor | None:
    """Return the features that values were projected from, if they are known."""
    if isinstance(origin, Derived):
        return origin.x()
    return origin.x if isinstance(origin, Projected) else None


def of_softmax(
    scores: Tensor, weights: Tensor, axis: int, origin: Origin | None, fused: bool
) -> Softmax:
    """Return the origin of a softmax's result, with the keys that a mask took out."""
    scores, weights = (each.movedim(axis, -1) for each in (scores, weights))
    gone = (scores == -torch.inf).all(dim=-1, keepdim=True)
    empty = bool(gone.any())
    found = gone.expand(weights.shape)
    if bool((weights == 0).any()):
        top = scores.amax(dim=-1, keepdim=True)
        found = found | (weights == 0) & (scores < top - FAR)
    return Softmax(
        tuple(weights.shape),
        weights.select(-2, 0).clone(),
        found if bool(found.any()) else None,
        empty,
        origin if isinstance(origin, Scores) else None,
        fused,
    )
