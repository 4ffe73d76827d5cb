"""Where a unit on a low-rank graph is worked out in one step, and what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gspnl.affinity.kernels import Dot
from gspnl.nn.embed import FeatureAffinity, lift
from gspnl.nn.fused import without_autocast
from gspnl.nn.onestep import Small, Step
from gspnl.nn.operators import Parts, filter_parts, series_parts, sum_of
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.scales import SYMMETRIZED
from gspnl.nn.stage import SpectralStage, Stage, combined
from gspnl.nn.unobserved import eager, plain

ROWS = ("random_walk", "softmax")  # normalisations that divide each row by its degree


def filtered(affinity: nn.Module, stage: nn.Module, x: Tensor) -> Tensor | None:
    """F (B, C, N) of features (B, C, N), or None where the step does not stand for these modules.

    It is taken where nothing could tell the difference: not where a hook or a parametrisation would
    be passed over, nor where something else than autograd transforms the program.
    """
    if not (isinstance(affinity, FeatureAffinity) and isinstance(stage, Stage)):
        return None
    if not (eager(x) and _divides_rows(affinity)):
        return None
    if not affinity.lowrank(x.shape[-1], x.shape[-1], affinity.phi.width):
        return None
    if not (plain(affinity, FeatureAffinity) and plain(stage, Stage, SpectralStage)):
        return None
    g = stage.g
    inward = [affinity.phi, affinity.psi] if g is None else [affinity.phi, affinity.psi, g]
    if not all(plain(each, Pointwise) and each.groups == 1 for each in (*inward, *stage.outputs)):
        return None
    if any(each.weight.dtype != lift(x).dtype for each in (*inward, *stage.outputs)):
        return None
    symmetric, kept = SYMMETRIZED[affinity.normalization], affinity.isolated == "self"
    with without_autocast(x.device):
        small, tensors = _small(stage, lift(x).dtype)
        if small.order < 1:
            return None
        out: Tensor = Step.apply(  # type: ignore[no-untyped-call]  # as torch leaves it
            lift(x), affinity.phi.weight, affinity.psi.weight, None if g is None else g.weight,
            _stacked_bias(inward), sum_of(outward) if (outward := _biases(stage.outputs)) else None,
            small, symmetric, kept, *tensors,
        )  # fmt: skip
    return out


def _biases(maps: Sequence[Pointwise]) -> list[Tensor]:
    return [each.bias for each in maps if each.bias is not None]


def _stacked_bias(maps: Sequence[Pointwise]) -> Tensor | None:
    """Biases of maps side by side, zero where there is none; None if none has one."""
    if not _biases(maps):
        return None
    return torch.cat(
        [each.weight.new_zeros(each.width) if each.bias is None else each.bias for each in maps]
    )


def _small(stage: Stage, dtype: torch.dtype) -> tuple[Small, list[Tensor]]:
    maps = [output.weight for output in stage.outputs]
    if isinstance(stage, SpectralStage):
        theta = stage.coefficients(dtype)
        filters = Small(theta.shape[1] - 1, lambda t, *small: filter_parts(t[0], t[1:], *small))
        return filters, [theta, *maps]
    series = list(combined(stage.terms, maps))
    while series and series[-1] is None:  # terms that end in zeros
        series.pop()
    there = [V is not None for V in series]

    def parts(tensors: Sequence[Tensor], *small: Any) -> Parts:
        given = iter(tensors)
        return series_parts([next(given) if each else None for each in there], *small)

    return Small(len(series) - 1, parts), [V for V in series if V is not None]


def _divides_rows(affinity: FeatureAffinity) -> bool:
    """Whether A is a graph of rectified dot products, each row divided by its degree."""
    kernel = affinity.kernel
    if not (type(kernel) is Dot and kernel.feature_map == "relu" and affinity.pool is None):
        return False
    return affinity.normalization in ROWS
