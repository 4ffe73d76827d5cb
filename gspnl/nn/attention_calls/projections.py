"""Value and output weights of each head, found from the values that linear layers computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gspnl.nn.attention_calls.origins import Projected

SAME = 1e-5  # relative, of sums in float64 of values that are the same up to their order


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over nodes of entries and of squares: they do not depend on the nodes' order."""

    first: Tensor
    second: Tensor
    absolute: Tensor
    rows: int

    def each(self, change: Callable[[Tensor], Tensor]) -> Sums:
        """Apply a function to each of the sums."""
        return Sums(change(self.first), change(self.second), change(self.absolute), self.rows)

    def every(self, times: int) -> Sums:
        """Return the sums of every so many heads."""
        return self.each(lambda part: part[::times])

    def match(self, other: Sums, columns: Tensor) -> bool:
        """Return True if columns of ``self`` have the sums of ``other``."""
        if self.rows != other.rows:
            return False
        first = (self.first[columns] - other.first).abs() <= SAME * other.absolute
        second = (self.second[columns] - other.second).abs() <= SAME * other.second
        return bool(first.all() and second.all())


def sums(values: Tensor) -> Sums:
    """Return the sums over all axes but the last."""
    rows = values.detach().reshape(-1, values.shape[-1]).double()
    return Sums(rows.sum(0), rows.square().sum(0), rows.abs().sum(0), len(rows))


def sums_of_heads(values: Tensor) -> Sums:
    """Return the sums over B and N of (B, H, N, c), each of shape (H, c)."""
    found = sums(values.transpose(1, 2).flatten(2))
    return found.each(lambda part: part.reshape(values.shape[1], values.shape[3]))


def columns_of(whole: Sums, heads: Sums) -> Tensor | None:
    """Return the column (H, c) of each head's channel among those of a layer, or None."""
    H, c = heads.first.shape
    width = len(whole.first)
    for columns in _orders(width, H, c):
        if whole.match(heads, columns):
            return columns
    for times in (n for n in range(2, H + 1) if H % n == 0):  # keys and values are repeated
        fewer = heads.every(times)
        for columns in _orders(width, H // times, c):
            repeated = columns.repeat_interleave(times, dim=0)
            if whole.match(fewer, columns) and whole.match(heads, repeated):
                return repeated
    return None


def _orders(width: int, H: int, c: int) -> Iterator[Tensor]:
    """Yield the usual orders of H heads with c channels among the columns of a layer."""
    used = H * c
    if width < used:
        return
    every = torch.arange(width)
    yield every[width - used :].reshape(H, c)
    if width % used == 0:
        parts = width // used
        # queries, keys and values one after another, inside of each head, or inside of channels
        for shape, order in (
            ((parts, H, c), (0, 1, 2)),
            ((H, parts, c), (1, 0, 2)),
            ((H, c, parts), (2, 0, 1)),
            ((parts, c, H), (0, 2, 1)),
            ((c, H, parts), (2, 1, 0)),
            ((c, parts, H), (1, 2, 0)),
        ):
            yield from every.reshape(shape).permute(order).flip(0)


def value_part(v: Tensor, origin: Projected) -> tuple[Tensor | None, Tensor | None]:
    """Return W_V (G, C, c) of each head, and the features (B, M, C), where they make the values.

    Parameters
    ----------
    v : Tensor of shape (B, G, M, c)
    origin : Projected
        Where the values come from.
    """
    if not origin.current or origin.x.shape[:-1] != origin.values.shape[:-1]:
        return None, None
    columns = columns_of(sums(origin.values), sums_of_heads(v))
    if columns is None:
        return None, None
    columns = columns.to(origin.weight.device)
    weight = origin.weight[:, columns].movedim(0, 1).clone()
    return weight, _tokens(v, origin, columns)


def over_channels(v: Tensor, origin: Projected) -> bool:
    """Return True if the nodes of values are channels of a linear layer, not its positions."""
    return columns_of(sums(origin.values), sums_of_heads(v.mT)) is not None


def _tokens(v: Tensor, origin: Projected, columns: Tensor) -> Tensor | None:
    """Return the features in the nodes' order, or None where that is another one."""
    B, _, M, _ = v.shape
    C = origin.x.shape[-1]
    wanted, size = v.double().sum((1, 3)), v.double().abs().sum((1, 3))
    made = origin.values.double()[..., columns.flatten()].sum(-1).flatten()
    x = origin.x.detach()
    if bool(((made.reshape(B, M) - wanted).abs() <= SAME * size).all()):
        return x.reshape(B, M, C).clone()
    if bool(((made.reshape(M, B).T - wanted).abs() <= SAME * size).all()):
        return x.reshape(M, B, C).transpose(0, 1).clone()
    return None


def output_part(x: Tensor, weight: Tensor, heads: Sums) -> Tensor | None:
    """Return W_O (H, c, C) of each head, if the input of a linear layer is what heads wrote.

    Parameters
    ----------
    x : Tensor of shape (..., H c)
    weight : Tensor of shape (H c, C)
    heads : Sums
        Of what the heads wrote.
    """
    if weight.shape[0] != heads.first.numel():
        return None
    columns = columns_of(sums(x), heads)
    return None if columns is None else weight.detach()[columns.to(weight.device)].clone()
