"""Fold trained blocks for inference: merge norms and maps without a change of the outputs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gspnl.errors import InputError
from gspnl.nn.affinity import FeatureAffinity
from gspnl.nn.block import Block
from gspnl.nn.hooked import make_plain, own_memo
from gspnl.nn.normalization import NORMALIZATIONS
from gspnl.nn.operators import sum_of
from gspnl.nn.pointwise import Pointwise
from gspnl.nn.structured import CrissCross, GatherDistribute, NoEdges
from gspnl.nn.surgery.targets import check_model
from gspnl.nn.unit import SpectralStage, Stage, batch_scale, combined

DENSE = 1 << 30  # more multiplications per position and channel than any rank


def fold(model: nn.Module) -> nn.Module:
    r"""Copy a network or block for inference, with every nonlocal block merged.

    Every unit of every block becomes one filter with constant maps:

    - maps of one power of A are added up: gSNL is :math:`Z (W_1 - W_3) + A Z (W_2 + 2 W_3)`, an SNL
      (erratum E1), and :math:`T_k(A)` keeps a single map :math:`V_k`;
    - batch norm, in evaluation a scale and a shift of each channel, is merged into these maps and a
      bias; group and layer norm, which depend on the input, stay;
    - :math:`W_g` is merged into the maps where that takes fewer multiplications, and then the
      residual connection, X = X I, into :math:`V_0` as well.

    Parameters
    ----------
    model : Module
        A network with blocks, inserted or its own, or a block. It is not changed.

    Returns
    -------
    Module
        A copy in evaluation mode. Its blocks have fewer parameters, which are frozen, and
        :func:`gspnl.nn.save` refuses them: save the original block, and fold it after loading.

    Raises
    ------
    InputError
        If ``model`` is no module, is wrapped or compiled, or cannot be copied, or if a
        block has parametrised weights, or a map that computes more than the product with its
        weight. Pruning, and weight and spectral norm of ``torch.nn.utils``, are merged.

    Notes
    -----
    In exact arithmetic the outputs are the same. The maps are merged in float64 and rounded once,
    to float32 for blocks in half precision, whose norms are in float32 too.

    Examples
    --------
    >>> import torch
    >>> from gspnl import nn as gnn
    >>> block = gnn.create("gsnl", 16, zero_init=False).eval()
    >>> folded = gnn.fold(block)
    >>> x = torch.randn(2, 16, 8, 8)
    >>> bool(((folded(x) - block(x)).abs() < 1e-5).all())
    True
    >>> sum(p.numel() for p in block.parameters()), sum(p.numel() for p in folded.parameters())
    (800, 656)
    """
    check_model(model)
    try:
        folded = copy.deepcopy(model, own_memo(model))
    except RuntimeError as error:
        raise InputError(f"the model cannot be copied, and so not folded: {error}") from error
    for name, block in list(folded.named_modules()):
        if isinstance(block, Block):
            _check_plain(block)
            make_plain(block, name)
            for stage in block.stages:
                if isinstance(stage, Stage) and type(stage) in (Stage, SpectralStage):
                    _fold(stage, block.affinity)
            block.folded = True
            block.requires_grad_(False)
    return folded.eval()


def _check_plain(block: Block) -> None:
    """Raise InputError for parametrised weights: their module has a class that a copy shares."""
    for name, module in block.named_modules():
        if parametrize.is_parametrized(module):
            raise InputError(
                f"the weights of {name!r} in a block are parametrised; fold a copy in which "
                "torch.nn.utils.parametrize.remove_parametrizations has made them plain"
            )


@torch.no_grad()
def _fold(stage: Stage, affinity: nn.Module) -> None:
    """Merge norm, maps and W_g of a unit, in place, in float64."""
    # Half precision would lose digits of merged maps, and F is summed in float32 anyway.
    dtype = torch.promote_types(stage.outputs[0].weight.dtype, torch.float32)
    for output in stage.outputs:
        output.double()
    scale = batch_scale(stage.norm)
    if scale is not None:
        _merge_norm(stage, scale)
    if type(stage) is Stage and stage.outputs[0].groups == 1:
        _merge_terms(stage)
        if merging_pays(stage, affinity):
            _merge_signal(stage)
            if isinstance(affinity, FeatureAffinity):  # signals are as wide as the features now
                affinity.load = replace(affinity.load, signals=affinity.load.channels)
    for output in stage.outputs:
        output.to(dtype)


def _merge_norm(stage: Stage, scale: Tensor) -> None:
    """Merge s (F − mean) + β into the maps and a bias of the first of them."""
    norm: Any = stage.norm  # a batch norm
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    for output in stage.outputs:
        if output.bias is not None:
            shift = shift + scale * output.bias
            output.bias = None
        output.weight = nn.Parameter(scale[:, None] * output.weight)
    stage.outputs[0].bias = nn.Parameter(shift)
    stage.norm = None


def _merge_terms(stage: Stage) -> None:
    """Replace the terms by one map for each T_k(A)."""
    outputs = stage.outputs
    biases = [output.bias for output in outputs if output.bias is not None]
    maps = combined(stage.terms, [output.weight for output in outputs])
    for name in stage.terms:
        delattr(stage, name)
    stage.terms = {}
    for k, V in enumerate(maps):
        if V is not None:
            output = Pointwise(V.shape[1], V.shape[0])
            output.weight = nn.Parameter(V)
            stage.add_module(f"v_{k}", output)
            stage.terms[f"v_{k}"] = (0.0,) * k + ((-1.0) ** k,)
    if biases:
        stage.outputs[0].bias = nn.Parameter(sum_of(biases))


def merging_pays(stage: Stage, affinity: nn.Module) -> bool:
    """Return whether F of X takes fewer multiplications per position than F of Z = X W_g.

    With W_g they are C·Cs for Z, C·Cs for the map of the identity if there is one, and rank·Cs for
    A; without it C·C for the map of the identity, and rank·C.
    """
    rank = _rank(affinity)
    if rank is None or stage.g is None or stage.g.bias is not None:
        return False
    inner, channels = stage.g.weight.shape
    flat = "v_0" in stage.terms
    kept = (1 + flat) * channels * inner + rank * inner
    return flat * channels * channels + rank * channels <= kept


def _rank(affinity: nn.Module) -> int | None:
    """Return the multiplications of A per position and channel; None if A and W_g do not commute.

    Max-pooling does not commute, nor does CGNL, whose nodes are pairs of position and channel.
    """
    if isinstance(affinity, NoEdges):
        return 0
    if isinstance(affinity, GatherDistribute):
        return affinity.phi.width
    if isinstance(affinity, CrissCross):
        return DENSE
    if isinstance(affinity, FeatureAffinity) and affinity.pool is None:
        if not affinity.kernel.bilinear or affinity.storage == "dense":
            return DENSE
        if affinity.kernel.embedding == "none":
            return affinity.load.channels
        return affinity.phi.width * (
            2 if NORMALIZATIONS[affinity.normalization].symmetric_core else 1
        )
    return None


def _merge_signal(stage: Stage) -> None:
    """Merge W_g into the maps, and the residual X into V₀ where no norm or activation is left."""
    assert stage.g is not None
    for output in stage.outputs:
        output.weight = nn.Parameter(output.weight @ stage.g.weight.double())
    stage.g = None
    if "v_0" in stage.terms and stage.norm is None and stage.activation is None:
        stage.outputs[0].weight.diagonal().add_(1)
        stage.whole = True
