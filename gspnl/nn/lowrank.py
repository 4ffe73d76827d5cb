"""Where a unit on a low-rank graph is worked out in one step, and what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from gspnl.kernels import Dot
from gspnl.nn.embed import HALVES, FeatureAffinity, lift
from gspnl.nn.fused import without_autocast
from gspnl.nn.onestep import Small, Step
from gspnl.nn.operators import Parts, filter_parts, series_parts
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.scales import SYMMETRIZED
from gspnl.nn.stage import SpectralStage, Stage, combined

ROWS = ("random_walk", "softmax")  # normalisations that divide each row by its degree


def filtered(affinity: nn.Module, stage: nn.Module, x: Tensor) -> Tensor | None:
    """F (B, C, N) of features (B, C, N), or None where the step does not stand for these modules.

    It is taken where nothing could tell the difference: not where a hook or a parametrisation would
    be passed over, nor where something else than autograd transforms the program.
    """
    if not (isinstance(affinity, FeatureAffinity) and isinstance(stage, Stage)):
        return None
    if not (_eager(x) and _divides_rows(affinity) and affinity.lowrank(x.shape[-1])):
        return None
    maps = affinity.phi, affinity.psi, stage.g, *stage.outputs
    if not (_plain(affinity, FeatureAffinity) and _plain(stage, Stage, SpectralStage)):
        return None
    if not all(_plain(each, Pointwise) and _linear(each) for each in maps):
        return None
    assert stage.g is not None
    weights = affinity.phi.weight, affinity.psi.weight, stage.g.weight
    if any(weight.dtype != lift(x).dtype for weight in weights):
        return None
    symmetric, kept = SYMMETRIZED[affinity.normalization], affinity.isolated == "self"
    with without_autocast(x.device):
        small, tensors = _small(stage, lift(x).dtype)
        out: Tensor = Step.apply(  # type: ignore[no-untyped-call]  # as torch leaves it
            lift(x), *weights, small, symmetric, kept, *tensors
        )
    return out


def _small(stage: Stage, dtype: torch.dtype) -> tuple[Small, list[Tensor]]:
    maps = [output.weight for output in stage.outputs]
    if isinstance(stage, SpectralStage):
        theta = stage.coefficients(dtype)
        filters = Small(theta.shape[1] - 1, lambda t, *small: filter_parts(t[0], t[1:], *small))
        return filters, [theta, *maps]
    series = combined(stage.terms, maps)
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


def _eager(x: Tensor) -> bool:
    """Whether plain autograd runs this, on a CPU, whose half precision saves no time here."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if x.dtype in HALVES and not torch.is_autocast_enabled("cpu"):
        return False
    return not (torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def _plain(module: nn.Module | None, *kinds: type[nn.Module]) -> bool:
    """Whether a module is as it was made: nobody follows its calls or has replaced them."""
    if module is None or type(module) not in kinds or "forward" in vars(module):
        return False
    hooks = module._forward_hooks, module._forward_pre_hooks
    backward = module._backward_hooks, module._backward_pre_hooks
    return not any(map(len, (*hooks, *backward)))


def _linear(map_: Pointwise | None) -> bool:
    """Whether a map is its weight and nothing else."""
    return map_ is not None and map_.bias is None and map_.groups == 1
